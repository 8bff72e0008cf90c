/** How the CA for tests makes certificates: real ones, of whatever the test wants in them. */
import { randomBytes } from 'node:crypto';
import type { HostRequest } from '@beacon/protocol/http/hosts';
import { createId } from '@beacon/protocol/id';
import { formatCertificateLine } from '@beacon/ssh/certificate';
import { fingerprint, formatPublicKeyLine, parsePublicKeyLine } from '@beacon/ssh/public-key';
import {
  type HostCa,
  signHostCertificate,
  signUserCertificate,
  type UserCa,
} from '@beacon/ssh/sign-certificate';
import { verifyMessage } from '@beacon/ssh/sshsig';
import type { Knobs } from './small-ca-knobs.ts';
import { Refusal } from './small-ca-refusal.ts';

export interface IssuerOptions {
  readonly knobs: Knobs;
  readonly person: string;
  readonly userCa: UserCa;
  readonly hostCa: HostCa;
  readonly record: (kind: string, facts?: Record<string, string>) => { seq: number; hash: string };
}

export function createIssuer({ knobs, person, userCa, hostCa, record }: IssuerOptions) {
  let serial = 0n;

  async function register(asked: Record<string, unknown>) {
    const { id, address, port, logins, labels, pools, host_key: line } = asked as unknown as HostRequest;
    const { key } = parsePublicKeyLine(line);
    serial += 1n;
    const now = BigInt(Math.floor(Date.now() / 1000));
    const fields = {
      publicKey: key,
      serial,
      keyId: `beacon/host/${id}`,
      principals: [id],
      validAfter: now - 60n,
      validBefore: now + 2_592_000n,
    };
    const blob = await signHostCertificate(fields, hostCa, randomBytes(32));
    return {
      host: { id, state: 'enabled', address, port, logins, labels, pools, host_key: fingerprint(key) },
      certificate: formatCertificateLine(blob),
      serial: serial.toString(),
      valid_before: new Date(Number(fields.validBefore) * 1000).toISOString(),
      record: record('host-registered'),
    };
  }

  async function issue(asked: Record<string, unknown>, body: Buffer, keyProof: string) {
    const host = knobs.hosts.find(({ id }) => id === asked['host']);
    if (host === undefined)
      throw new Refusal(404, 'host-unknown', `there is no host ${asked['host']}: see beacon ca host list`);
    const denial = knobs.denials[host.id];
    if (denial !== undefined) throw new Refusal(403, denial.code, denial.detail, denial.missing);
    const { key } = parsePublicKeyLine(String(asked['public_key']));
    const signer = verifyMessage({
      signature: Buffer.from(keyProof, 'base64url'),
      namespace: 'certificate@beacon',
      message: body,
    });
    if (!signer.blob.equals(key.blob)) throw new Refusal(403, 'key-proof-invalid');
    const grant = createId(Date.now());
    const now = BigInt(Math.floor(Date.now() / 1000));
    serial += 1n;
    const fields = knobs.certificate({
      publicKey: key,
      serial,
      keyId: `beacon/${grant}/${person}`,
      principals: [`${asked['login']}@${host.id}`],
      validAfter: now - 60n,
      validBefore: now + BigInt(Number(asked['lifetime_seconds'])),
      extensions: knobs.extensions,
    });
    const blob = await signUserCertificate(fields, userCa, randomBytes(32));
    const reference = record('certificate', { serial: serial.toString() });
    return {
      certificate: formatCertificateLine(blob),
      serial: fields.serial.toString(),
      grant,
      key_id: fields.keyId,
      principal: fields.principals[0],
      valid_after: new Date(Number(fields.validAfter) * 1000).toISOString(),
      valid_before: new Date(Number(fields.validBefore) * 1000).toISOString(),
      policies: ['deploy.cedar#0'],
      host: {
        id: host.id,
        address: host.address,
        port: host.port,
        certificate_authorities: [formatPublicKeyLine(hostCa.publicKey)],
      },
      record: reference,
    };
  }

  return { register, issue };
}
