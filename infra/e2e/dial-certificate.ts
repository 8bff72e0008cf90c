/** What the CA's answer would be for a certificate of a throw-away CA, and an empty revocation list. */
import { randomBytes } from 'node:crypto';
import type { ObtainedCertificate } from '@beacon/client';
import { createId } from '@beacon/protocol/id';
import {
  createHostCa,
  createSigner,
  createUserCa,
  decodeCertificate,
  encodeKrl,
  formatCertificateLine,
  generateKey,
  type KeyPair,
  type PublicKey,
  parsePublicKeyLine,
  type Signer,
  signHostCertificate,
  signUserCertificate,
} from '@beacon/ssh';

export interface DialTarget {
  readonly id: string;
  readonly address: string;
  readonly port: number;
  readonly authorities: readonly PublicKey[];
}

/** A certificate that was made elsewhere, as the CA would have handed it over. */
export function obtainedOf(
  { blob, key, grant }: { readonly blob: Buffer; readonly key: KeyPair; readonly grant: string },
  host: DialTarget,
): ObtainedCertificate {
  const certificate = decodeCertificate(blob);
  return {
    certificate,
    line: formatCertificateLine(blob),
    signer: createSigner(key.privateKey),
    grant,
    permitPty: false,
    shortenedBySession: false,
    validBefore: new Date(Number(certificate.validBefore) * 1_000),
    host,
    record: { seq: 1, hash: '0'.repeat(64) },
  };
}

export async function certify(ca: Signer, login: string, host: DialTarget): Promise<ObtainedCertificate> {
  const key = generateKey('ssh-ed25519');
  const grant = createId(Date.now());
  const now = BigInt(Math.floor(Date.now() / 1_000));
  const blob = await signUserCertificate(
    {
      publicKey: key.publicKey,
      serial: BigInt(`0x${randomBytes(7).toString('hex')}`),
      keyId: `beacon/${grant}/github:583231`,
      principals: [`${login}@${host.id}`],
      validAfter: now - 60n,
      validBefore: now + 600n,
      criticalOptions: {},
      extensions: {},
    },
    createUserCa(ca),
    randomBytes(32),
  );
  return obtainedOf({ blob, key, grant }, host);
}

export const NOTHING_REVOKED = encodeKrl({
  version: 1n,
  generated: new Date(),
  comment: 'test',
  authorities: [],
});

/** The host's own certificate, as one line, for the key of this line. */
export async function certifyHost(ca: Signer, host: string, keyLine: string): Promise<string> {
  const now = BigInt(Math.floor(Date.now() / 1_000));
  const blob = await signHostCertificate(
    {
      publicKey: parsePublicKeyLine(keyLine).key,
      serial: 1n,
      keyId: `beacon/host/${host}`,
      principals: [host],
      validAfter: now - 60n,
      validBefore: now + 86_400n,
    },
    createHostCa(ca),
    randomBytes(32),
  );
  return formatCertificateLine(blob);
}
