/**
 * A CA in this process that allows everything: it signs what is asked for, as the real one does, and is not measured here
 * (`scripts/bench issue` does that).
 */
import type { Caller } from '@beacon/broker';
import type { CaApi } from '@beacon/client';
import { argumentsDigest, decode32 } from '@beacon/protocol/arguments-digest';
import type { CertificateRequest, CommandRequest } from '@beacon/protocol/http/certificates';
import {
  createSigner,
  fingerprint,
  formatPublicKeyLine,
  generateKey,
  type KeyPair,
  parsePublicKeyLine,
} from '@beacon/ssh';
import { certifyHost, NOTHING_REVOKED } from '../../e2e/dial-certificate.ts';
import { lineOf, PERSON, type ThrowAwayCa } from '../../lab/throw-away-ca.ts';

export class BenchCa {
  readonly ca: ThrowAwayCa;
  /** Where each host is, by its id. */
  readonly addresses = new Map<string, string>();
  readonly hostCa = generateKey('ssh-ed25519');

  constructor(ca: ThrowAwayCa) {
    this.ca = ca;
  }

  certifyHost(host: string, keyLine: string): Promise<string> {
    return certifyHost(createSigner(this.hostCa.privateKey), host, keyLine);
  }

  caller(): Caller {
    const record = { seq: 1, hash: '0'.repeat(64) };
    const api = {
      decide: async () => ({
        allowed: true,
        reason: { code: 'allowed', text: 'yes' },
        missing: [],
        policies: [],
        policyVersion: '1',
        record,
      }),
      requestCertificate: async (body: Buffer) => {
        const request = JSON.parse(body.toString('utf8')) as CertificateRequest;
        const { key } = parsePublicKeyLine(request.public_key);
        const { host, login } = request;
        const { blob, grant, serial } = await this.ca.certify([], {
          key: { publicKey: key } as KeyPair,
          lifetimeSeconds: request.lifetime_seconds,
          grant: { host, login, commands: (request.commands ?? []).map(granted) },
          fields: { principals: [`${login}@${host}`] },
        });
        return {
          certificate: `ssh-ed25519-cert-v01@openssh.com ${blob.toString('base64')}`,
          serial,
          grant: grant.grant,
          shortenedBySession: false,
          policies: [],
          host: {
            id: host,
            address: this.addresses.get(host) ?? '',
            port: 22,
            certificateAuthorities: [lineOf(this.hostCa)],
          },
          record,
        };
      },
      authorityKeys: async () => ({ user: [published(this.ca.userCa)], host: [published(this.hostCa)] }),
      revocationList: async () => NOTHING_REVOKED,
    };
    return { person: PERSON, sessionKey: 'session', api: api as unknown as CaApi };
  }
}

function granted({ undo: _, ...request }: CommandRequest) {
  const salt = decode32(request.salt) ?? new Uint8Array();
  const { command, params } = request;
  return { command, digest: argumentsDigest({ command, salt, params, commitments: {} }) };
}

function published(key: KeyPair) {
  return {
    publicKey: formatPublicKeyLine(key.publicKey),
    fingerprint: fingerprint(key.publicKey),
    state: 'active' as const,
  };
}
