/** A machine that becomes a host: its host key, and requests signed as `@beacon/protocol/host-request` says. */
import { randomBytes } from 'node:crypto';
import {
  ENROLMENT_NAMESPACE,
  HOST_SIGNATURE_HEADER,
  KEY_PROOF_HEADER,
  RENEWAL_NAMESPACE,
  REPORT_NAMESPACE,
  SELF_TEST_NAMESPACE,
} from '@beacon/protocol/host-request';
import { parseHostToken } from '@beacon/protocol/host-token';
import { FIRST_PREVIOUS, formatRecord, hashRecord } from '@beacon/protocol/record';
import { formatPublicKeyLine } from '@beacon/ssh/public-key';
import type { Signer } from '@beacon/ssh/signature';
import { signMessage } from '@beacon/ssh/sshsig';
import { newSigner, type Reply, type SmallCa } from './small-ca.ts';
import type { TrustLab } from './trust-lab.ts';

export interface Sent {
  readonly namespace?: string;
  readonly signer?: Signer;
  /** What is sent in place of the body that was signed. */
  readonly raw?: string;
  readonly headers?: Record<string, string>;
}

export async function sendSigned(
  ca: SmallCa,
  path: string,
  body: object,
  signer: Signer,
  sent: Sent & { namespace: string },
) {
  const raw = JSON.stringify(body);
  const signature = await signMessage(sent.signer ?? signer, sent.namespace, Buffer.from(raw));
  return ca.send('POST', path, sent.raw ?? raw, {
    [HOST_SIGNATURE_HEADER]: signature.toString('base64'),
    ...sent.headers,
  });
}

export class Machine {
  readonly id: string;
  readonly ca: SmallCa;
  readonly key: Signer;
  /** Its own chain of records. */
  readonly lines: string[] = [];

  constructor(ca: SmallCa, id: string, key = newSigner()) {
    this.ca = ca;
    this.id = id;
    this.key = key;
  }

  enrol(token: string, change: object = {}, sent: Sent = {}): Promise<Reply> {
    const { secret } = parseHostToken(token);
    const body = {
      v: 1,
      secret,
      host: this.id,
      host_key: formatPublicKeyLine(this.key.publicKey),
      ...change,
    };
    return sendSigned(this.ca, '/v1/host-enrolments', body, this.key, {
      namespace: ENROLMENT_NAMESPACE,
      ...sent,
    });
  }

  renew(change: object = {}, sent: Sent = {}): Promise<Reply> {
    const body = { ...this.#fresh(), ...change };
    return sendSigned(this.ca, '/v1/host-renewals', body, this.key, {
      namespace: RENEWAL_NAMESPACE,
      ...sent,
    });
  }

  async selfTest(change: object = {}, sent: Sent & { prover?: Signer } = {}): Promise<Reply> {
    const fresh = newSigner();
    const body = {
      ...this.#fresh(),
      login: 'beacon',
      public_key: formatPublicKeyLine(fresh.publicKey),
      ...change,
    };
    const message = Buffer.from(JSON.stringify(body));
    const proof = (await signMessage(sent.prover ?? fresh, 'certificate@beacon', message)).toString('base64');
    return sendSigned(this.ca, '/v1/host-self-tests', body, this.key, {
      namespace: SELF_TEST_NAMESPACE,
      headers: { [KEY_PROOF_HEADER]: proof },
      ...sent,
    });
  }

  report(change: object = {}, sent: Sent = {}): Promise<Reply> {
    const body = {
      ...this.#fresh(),
      clock: this.ca.clock.now().toISOString(),
      versions: { beacon: '0.1.0', sshd: 'OpenSSH_9.2p1' },
      trust: { root: 1, status: 1 },
      head: this.head,
      records: [],
      ...change,
    };
    return sendSigned(this.ca, '/v1/host-reports', body, this.key, { namespace: REPORT_NAMESPACE, ...sent });
  }

  /** Writes records as the gate does. */
  work(count = 1, chain = `host/${this.id}`): string[] {
    const added: string[] = [];
    for (let i = 0; i < count; i += 1) {
      const fields = { chain, seq: this.lines.length + 1, time: this.ca.clock.now(), kind: 'test' };
      const line = formatRecord(fields, this.head.hash);
      this.lines.push(line);
      added.push(line);
    }
    return added;
  }

  get head(): { seq: number; hash: string } {
    const last = this.lines.at(-1);
    return last === undefined
      ? { seq: 0, hash: FIRST_PREVIOUS }
      : { seq: this.lines.length, hash: hashRecord(last) };
  }

  #fresh() {
    const nonce = randomBytes(32).toString('base64url');
    return { v: 1, host: this.id, at: this.ca.clock.now().toISOString(), nonce };
  }
}

const place = { port: 22, logins: ['beacon'], labels: { env: 'test' }, pools: ['web'] };

/** Asks for a token as an administrator. */
export function askToken(lab: TrustLab, host: string, change: object = {}): Promise<Reply> {
  const wish = { kind: 'host', host, address: '192.0.2.9', replace: false, lifetime_seconds: 3600 };
  return lab.ca.ask(lab.ada, 'POST', '/v1/host-tokens', { v: 1, ...wish, ...place, ...change });
}

export function askPoolToken(
  lab: TrustLab,
  hosts: string,
  uses: number,
  change: object = {},
): Promise<Reply> {
  const wish = { v: 1, kind: 'pool', hosts, uses, lifetime_seconds: 3600 };
  return lab.ca.ask(lab.ada, 'POST', '/v1/host-tokens', { ...wish, ...place, ...change });
}
