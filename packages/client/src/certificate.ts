/**
 * A fresh key, or one that is given, and a certificate for it (DESIGN.md section 3.3). The CA's answer is verified before
 * anybody uses it: that the CA's published keys signed it and are not revoked, that it is for this key, this login on
 * this host, these commands and no longer than asked, and that it permits nothing that was not asked for. What does not
 * hold is ClientError `certificate-untrusted`, and nothing is dialled.
 */
import { argumentsDigest, decode32 } from '@beacon/protocol/arguments-digest';
import { parseGrant } from '@beacon/protocol/grant';
import type { CertificateRequest, CommandRequest } from '@beacon/protocol/http/certificates';
import { formatPrincipal } from '@beacon/protocol/name';
import { type Certificate, parseCertificateLine } from '@beacon/ssh/certificate';
import { generateKey } from '@beacon/ssh/key';
import { hasFlag, optionText } from '@beacon/ssh/options';
import {
  fingerprint,
  formatPublicKeyLine,
  isSameKey,
  type PublicKey,
  parsePublicKeyLine,
} from '@beacon/ssh/public-key';
import { createSigner, type Signer } from '@beacon/ssh/signature';
import { signMessage } from '@beacon/ssh/sshsig';
import { verifyCertificate } from '@beacon/ssh/verify-certificate';
import type { AuthorityKey, AuthorityKeys, IssuedAnswer, RecordReference } from './ca-answers.ts';
import { type CaApi, certificateBody } from './ca-api.ts';
import { ClientError } from './error.ts';

export interface CertificateWish {
  readonly host: string;
  readonly login: string;
  readonly lifetimeSeconds: number;
  /** For a run. Absent for a personal login. */
  readonly commands?: readonly CommandRequest[];
}

export interface ObtainedCertificate {
  /** Decoded, its signature and all that was asked for verified. */
  readonly certificate: Certificate;
  /** The one line of a `-cert.pub` file. */
  readonly line: string;
  /** Signs with the key that the certificate is for. */
  readonly signer: Signer;
  readonly grant: string;
  readonly permitPty: boolean;
  readonly shortenedBySession: boolean;
  readonly validBefore: Date;
  /** Where to connect, and who may certify the host's own key. */
  readonly host: {
    readonly id: string;
    readonly address: string;
    readonly port: number;
    readonly authorities: readonly PublicKey[];
  };
  readonly record: RecordReference;
}

/** The namespace of the proof of possession. */
const KEY_PROOF_NAMESPACE = 'certificate@beacon';
/** A certificate begins 60 s before it is made; the rest is rounding and the request's own time. */
const VALIDITY_SLACK_SECONDS = 120n;
const PERSONAL_EXTENSIONS = new Set([
  'no-touch-required',
  'permit-X11-forwarding',
  'permit-agent-forwarding',
  'permit-port-forwarding',
  'permit-pty',
  'permit-user-rc',
]);

/**
 * Asks for a certificate and verifies it. `signer` is the key to be certified; a fresh Ed25519 key that never leaves the
 * memory when absent. Throws ClientError: `refused` with the CA's denial, `certificate-untrusted` for its bad answer.
 */
export async function obtainCertificate(
  api: Pick<CaApi, 'requestCertificate' | 'authorityKeys'>,
  wish: CertificateWish,
  options: { readonly signer?: Signer; readonly now?: () => Date } = {},
): Promise<ObtainedCertificate> {
  const signer = options.signer ?? createSigner(generateKey('ssh-ed25519').privateKey);
  const body = certificateBody({
    host: wish.host,
    login: wish.login,
    public_key: formatPublicKeyLine(signer.publicKey),
    lifetime_seconds: wish.lifetimeSeconds,
    ...(wish.commands === undefined ? {} : { commands: [...wish.commands] }),
  } satisfies Omit<CertificateRequest, 'v'>);
  const keyProof = (await signMessage(signer, KEY_PROOF_NAMESPACE, body)).toString('base64url');
  const [answer, keys] = await Promise.all([api.requestCertificate(body, keyProof), api.authorityKeys()]);
  const now = options.now?.() ?? new Date();
  return verifyIssued(answer, keys, wish, signer, now);
}

/** The checks on an answer, in order. Throws ClientError `certificate-untrusted`. */
export function verifyIssued(
  answer: IssuedAnswer,
  keys: AuthorityKeys,
  wish: CertificateWish,
  signer: Signer,
  now: Date,
): ObtainedCertificate {
  const certificate = trusted(() => parseCertificateLine(answer.certificate));
  const principal = formatPrincipal(wish.login, wish.host);
  trusted(() =>
    verifyCertificate(certificate, { now, kind: 'user', principal, authorities: activeKeys(keys.user) }),
  );
  require(isSameKey(certificate.publicKey, signer.publicKey), 'it is for another key');
  require(certificate.serial === answer.serial, 'its serial is not the one that the answer names');
  require(certificate.keyId.startsWith(`beacon/${answer.grant}/`), 'its key id does not name the grant');
  requireLifetime(certificate, wish.lifetimeSeconds);
  requireOptions(certificate, wish, answer.grant);
  require(answer.host.id === wish.host, 'the answer describes another host');
  return {
    certificate,
    line: answer.certificate.trimEnd(),
    signer,
    grant: answer.grant,
    permitPty: hasFlag(certificate.extensions, 'permit-pty'),
    shortenedBySession: answer.shortenedBySession,
    validBefore: new Date(Number(certificate.validBefore) * 1000),
    host: {
      id: answer.host.id,
      address: answer.host.address,
      port: answer.host.port,
      authorities: hostAuthorities(answer, keys),
    },
    record: answer.record,
  };
}

function requireLifetime(certificate: Certificate, lifetimeSeconds: number): void {
  const seconds = certificate.validBefore - certificate.validAfter;
  require(seconds <= BigInt(lifetimeSeconds) + VALIDITY_SLACK_SECONDS, 'it lives longer than was asked for');
}

/** A personal login is no run, and nothing is forced in either. */
function requireOptions(certificate: Certificate, wish: CertificateWish, grantId: string): void {
  const critical = certificate.criticalOptions.find(({ name }) => name !== 'source-address');
  require(critical === undefined, 'it carries a critical option that was not asked for');
  if (wish.commands === undefined) {
    const foreign = certificate.extensions.find(({ name }) => !PERSONAL_EXTENSIONS.has(name));
    require(foreign === undefined, 'it carries an extension that does not belong to a personal login');
    return;
  }
  require(certificate.extensions.length === 1, 'a certificate for a run carries its grant and nothing else');
  const text = optionText(certificate.extensions, 'grant@beacon');
  require(text !== undefined, 'it carries no grant');
  const grant = trusted(() => parseGrant(text ?? ''));
  const commands = JSON.stringify(wish.commands.map(grantedCommand));
  require(grant.grant === grantId &&
    grant.host === wish.host &&
    grant.login === wish.login, 'its grant is another one');
  require(JSON.stringify(grant.commands) === commands, 'its grant is for other commands');
}

function grantedCommand(request: CommandRequest): object {
  const { command, undo } = request;
  const granted = { command, digest: digestOf(request) };
  return undo === undefined
    ? granted
    : { ...granted, undo: { command: undo.command, digest: digestOf(undo) } };
}

function digestOf(request: Omit<CommandRequest, 'undo'>): string {
  const commitments: Record<string, Uint8Array> = {};
  for (const [name, text] of Object.entries(request.commitments)) {
    commitments[name] = decode32(text) ?? new Uint8Array();
  }
  return argumentsDigest({
    command: request.command,
    salt: decode32(request.salt) ?? new Uint8Array(),
    params: request.params,
    commitments,
  });
}

/** The host CA keys to trust: those that the answer names, each of which the CA publishes and has not revoked. */
function hostAuthorities(answer: IssuedAnswer, keys: AuthorityKeys): readonly PublicKey[] {
  const published = activeKeys(keys.host);
  const named = answer.host.certificateAuthorities.map((line) => trusted(() => parsePublicKeyLine(line).key));
  require(named.length > 0, 'the answer names no key that could vouch for the host');
  for (const key of named) {
    require(published.some((one) =>
      isSameKey(one, key),
    ), `the host CA key ${fingerprint(key)} is not among those that the CA publishes`);
  }
  return named;
}

function activeKeys(keys: readonly AuthorityKey[]): readonly PublicKey[] {
  return keys
    .filter(({ state }) => state === 'active')
    .map(({ publicKey }) => trusted(() => parsePublicKeyLine(publicKey).key));
}

function trusted<Value>(read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    if (error instanceof ClientError) throw error;
    throw untrusted(error instanceof Error ? error.message : 'it cannot be read', error);
  }
}

function require(holds: boolean, otherwise: string): void {
  if (!holds) throw untrusted(otherwise);
}

function untrusted(why: string, cause?: unknown): ClientError {
  return new ClientError(
    'certificate-untrusted',
    'internal',
    `the CA's certificate is not used: ${why}. Nothing was dialled; tell the CA's administrator`,
    { cause },
  );
}
