/**
 * Verifying what a host is asked to trust (DESIGN.md section 6, ATTACKS.md B and K): both signatures over the exact
 * bytes, from the pinned key down, root and status of one pair, the revocation list that the status names, whole and
 * sealed. The gate verifies the same again by itself. Time and the versions that were seen before are arguments.
 */
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ProtocolError } from '@beacon/protocol/error';
import { compilePattern } from '@beacon/protocol/pattern';
import {
  type HostIdentity,
  parseTrustRoot,
  parseTrustStatus,
  TRUST_DOCUMENT_MAX_BYTES,
  TRUST_ROOT_NAMESPACE,
  TRUST_STATUS_NAMESPACE,
  type TrustRoot,
  type TrustStatus,
} from '@beacon/protocol/trust';
import { SshError } from '@beacon/ssh/error';
import { decodeKrl, MAX_KRL_BYTES } from '@beacon/ssh/krl';
import { isSameKey, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { verifyMessage } from '@beacon/ssh/sshsig';
import { readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';

/** The documents as they come, and the longest that each may be. */
export const TRUST_FILES = {
  'root.json': TRUST_DOCUMENT_MAX_BYTES,
  'root.json.sig': 16_384,
  'status.json': TRUST_DOCUMENT_MAX_BYTES,
  'status.json.sig': 16_384,
  krl: MAX_KRL_BYTES,
} as const;

export type TrustFile = keyof typeof TRUST_FILES;
export type TrustFiles = Readonly<Record<TrustFile, Buffer>>;

/** Documents that belong together and are signed by those who may. */
export interface VerifiedTrust {
  readonly files: TrustFiles;
  readonly root: TrustRoot;
  readonly status: TrustStatus;
}

/** How far the clock may be behind the time of issue. */
const LATE_CLOCK_MS = 60_000;

/** All but time and age. Throws HostError `trust-refused`. */
export function verifyTrust(files: TrustFiles, identity: HostIdentity): VerifiedTrust {
  for (const [name, most] of Object.entries(TRUST_FILES) as [TrustFile, number][]) {
    if (files[name].length > most) throw refused(`${name} is longer than ${most} bytes`);
  }
  return asRefusal(() => {
    requireSignature(files, 'root.json', TRUST_ROOT_NAMESPACE, identity.rootKey);
    const root = parseTrustRoot(files['root.json']);
    if (!compilePattern(root.hosts).matches(identity.host)) {
      throw refused(`the root was not made for the host ${identity.host}`);
    }
    if (!root.logins.includes(identity.login)) {
      throw refused(`the root was not made for the login ${identity.login}`);
    }
    if (root.userCa.length === 0) throw refused('the root names no user CA');
    requireSignature(files, 'status.json', TRUST_STATUS_NAMESPACE, root.statusKey);
    const status = parseTrustStatus(files['status.json']);
    if (status.rootVersion !== root.version) throw refused('root and status do not belong together');
    const { krl } = files;
    if (krl.length !== status.krl.bytes || sha256(krl) !== status.krl.sha256) {
      throw refused('the revocation list is not the one that the status names');
    }
    // sshd takes an empty list, or one that is cut between sections, for a list that revokes nothing.
    if (!decodeKrl(krl).sealed) throw refused('the revocation list is cut: it has no seal');
    return { files, root, status };
  });
}

/** Throws HostError `trust-stale` past either expiry, `clock-wrong` where the clock is before the time of issue. */
export function requireFresh({ root, status }: VerifiedTrust, now: Date): void {
  if (now.getTime() < status.issued.getTime() - LATE_CLOCK_MS) {
    throw new HostError(
      'clock-wrong',
      `the clock says ${now.toISOString()}, but the trust status was issued at ${status.issued.toISOString()}: set the clock`,
    );
  }
  for (const [name, { expires }] of [
    ['root', root],
    ['status', status],
  ] as const) {
    if (now < expires) continue;
    throw new HostError(
      'trust-stale',
      `the trust ${name} expired at ${expires.toISOString()}: ${
        name === 'root' ? 'sign a new root' : 'find out why the CA gives no newer one'
      }`,
    );
  }
}

/** The newest documents that were in force: versions, and the SHA-256 of their exact bytes. */
export interface TrustFloor {
  readonly root: number;
  readonly rootSha256: string;
  readonly status: number;
  readonly statusSha256: string;
}

export function floorOf({ files, root, status }: VerifiedTrust): TrustFloor {
  return {
    root: root.version,
    rootSha256: sha256(files['root.json']),
    status: status.version,
    statusSha256: sha256(files['status.json']),
  };
}

/** Throws HostError `trust-went-back` where `next` is older than `present`, or another document of the same version. */
export function requireNotOlder(present: VerifiedTrust, next: VerifiedTrust): void {
  requireNotBelow(floorOf(present), next);
}

/** {@link requireNotOlder} for what is remembered of documents. */
export function requireNotBelow(floor: TrustFloor, next: VerifiedTrust): void {
  const is = floorOf(next);
  if (is.root < floor.root) throw wentBack(`root ${floor.root}`, `root ${is.root}`);
  // A new root begins the versions of the status anew: so a host recovers from a version that a thief drove up (B4).
  if (is.root !== floor.root) return;
  if (is.rootSha256 !== floor.rootSha256)
    throw wentBack(`root ${floor.root}`, 'another root of the same version');
  if (is.status < floor.status) throw wentBack(`status ${floor.status}`, `status ${is.status}`);
  if (is.status === floor.status && is.statusSha256 !== floor.statusSha256) {
    throw wentBack(`status ${floor.status}`, 'another status of the same version');
  }
}

/** The documents of a folder. Throws HostError `trust-refused` where one is missing or too long. */
export function readTrustFolder(folder: string): TrustFiles {
  const read = (Object.keys(TRUST_FILES) as TrustFile[]).map((name) => {
    const bytes = readIfThere(join(folder, name));
    if (bytes === undefined) throw refused(`${join(folder, name)} is missing`);
    return [name, bytes] as const;
  });
  return Object.fromEntries(read) as TrustFiles;
}

/** What sshd reads: the user CAs of the root, a line each. */
export function userCaFile(root: TrustRoot): Buffer {
  return Buffer.from(`${root.userCa.join('\n')}\n`);
}

/** The name of the folder that holds these documents. */
export function trustVersion({ root, status }: VerifiedTrust): string {
  return `${root.version}-${status.version}`;
}

/** The folders of documents below `folder`, as `trustVersion` names them. */
export function trustVersions(folder: string): string[] {
  return readdirSync(folder).filter((name) => /^[1-9]\d*-[1-9]\d*$/.test(name));
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function requireSignature(
  files: TrustFiles,
  name: 'root.json' | 'status.json',
  namespace: string,
  line: string,
): void {
  const signature = files[`${name}.sig`].toString('latin1');
  const signer = verifyMessage({ signature, namespace, message: files[name] });
  if (!isSameKey(signer, parsePublicKeyLine(line).key)) {
    throw refused(`${name} is not signed by the key that may sign it`);
  }
}

function asRefusal<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (error instanceof ProtocolError || error instanceof SshError) {
      throw refused(error.message, { cause: error });
    }
    throw error;
  }
}

function refused(what: string, options?: ErrorOptions): HostError {
  const advice = 'nothing was changed; find out who sent it';
  return new HostError('trust-refused', `the trust documents are refused: ${what}: ${advice}`, options);
}

function wentBack(had: string, shown: string): HostError {
  return new HostError(
    'trust-went-back',
    `the host has ${had} and is shown ${shown}: nothing was changed; find out who sent it`,
  );
}
