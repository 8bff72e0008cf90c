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
import {
  followHandovers,
  HANDOVERS_FILE,
  HANDOVERS_MAX_BYTES,
  type IsSignedBy,
  parseHandovers,
} from '@beacon/protocol/trust-handover';
import { findStale, findStepBack, type TrustVersions } from '@beacon/protocol/trust-standing';
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

/** How the root key came to be another than the pinned one, where it did. */
const MAY_BE_THERE = { [HANDOVERS_FILE]: HANDOVERS_MAX_BYTES } as const;

export type TrustFile = keyof typeof TRUST_FILES;
export type TrustFiles = Readonly<
  Record<TrustFile, Buffer> & Partial<Record<keyof typeof MAY_BE_THERE, Buffer>>
>;

/** Documents that belong together and are signed by those who may. */
export interface VerifiedTrust {
  readonly files: TrustFiles;
  readonly root: TrustRoot;
  readonly status: TrustStatus;
  /** The keys of roots, from the pinned one to the one that signed this root. */
  readonly rootKeys: readonly string[];
}

/** The files that there are, by their names. */
export function listTrustFiles(files: TrustFiles): [name: string, bytes: Buffer][] {
  return [...Object.keys(TRUST_FILES), ...Object.keys(MAY_BE_THERE)].flatMap((name) => {
    const bytes = files[name as keyof TrustFiles];
    return bytes === undefined ? [] : [[name, bytes] as [string, Buffer]];
  });
}

/** All but time and age. Throws HostError `trust-refused`. */
export function verifyTrust(files: TrustFiles, identity: HostIdentity): VerifiedTrust {
  for (const [name, most] of Object.entries({ ...TRUST_FILES, ...MAY_BE_THERE })) {
    const length = files[name as keyof TrustFiles]?.length ?? 0;
    if (length > most) throw refused(`${name} is longer than ${most} bytes`);
  }
  return asRefusal(() => {
    const handed = files[HANDOVERS_FILE];
    const handovers = handed === undefined ? [] : parseHandovers(handed);
    const { key, keys, since } = followHandovers(identity.rootKey, handovers, isSignedBy);
    requireSignature(files, 'root.json', TRUST_ROOT_NAMESPACE, key);
    const root = parseTrustRoot(files['root.json']);
    if (root.version < since) throw refused('the root is older than its key');
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
    return { files, root, status, rootKeys: keys };
  });
}

/** Throws HostError `trust-stale` past either expiry, `clock-wrong` where the clock is before the time of issue. */
export function requireFresh(trust: VerifiedTrust, now: Date): void {
  const stale = findStale(trust, now);
  if (stale?.kind === 'clock-behind') throw new HostError('clock-wrong', `${stale.what}: set the clock`);
  if (stale === undefined) return;
  const remedy = stale.document === 'root' ? 'sign a new root' : 'find out why the CA gives no newer one';
  throw new HostError('trust-stale', `${stale.what}: ${remedy}`);
}

/** The newest documents that were used, and the key that signed their root, where that is known. */
export interface Floor extends TrustVersions {
  readonly rootKey?: string;
}

export function floorOf({ files, root, status, rootKeys }: VerifiedTrust): Required<Floor> {
  return {
    root: root.version,
    rootSha256: sha256(files['root.json']),
    status: status.version,
    statusSha256: sha256(files['status.json']),
    rootKey: rootKeys.at(-1) ?? '',
  };
}

/** Throws HostError `trust-went-back` where `next` is older than `present`, or another document of the same version. */
export function requireNotOlder(present: VerifiedTrust, next: VerifiedTrust): void {
  requireNotBelow(floorOf(present), next);
}

/** {@link requireNotOlder} for what is remembered of documents. */
export function requireNotBelow(floor: Floor, next: VerifiedTrust): void {
  const what = findStepBack(floor, floorOf(next));
  if (what !== undefined) throw wentBack(what);
  // Who has a key that was handed over cannot hand it over once more, to somebody else.
  if (floor.rootKey !== undefined && !next.rootKeys.includes(floor.rootKey))
    throw wentBack('another key has signed roots, and now one that it did not hand over to is shown');
}

/** The documents of a folder. Throws HostError `trust-refused` where one is missing. */
export function readTrustFolder(folder: string): TrustFiles {
  const read = [...Object.keys(TRUST_FILES), ...Object.keys(MAY_BE_THERE)].flatMap((name) => {
    const bytes = readIfThere(join(folder, name));
    if (bytes === undefined && name in TRUST_FILES) throw refused(`${join(folder, name)} is missing`);
    return bytes === undefined ? [] : [[name, bytes] as const];
  });
  return Object.fromEntries(read) as unknown as TrustFiles;
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
  if (!isSignedBy(line, { signature, namespace, message: files[name] })) {
    throw refused(`${name} is not signed by the key that may sign it`);
  }
}

/** Whether the key of a line signed a message. Throws SshError. */
export const isSignedBy: IsSignedBy = (line, signed) =>
  isSameKey(verifyMessage(signed), parsePublicKeyLine(line).key);

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

function wentBack(what: string): HostError {
  return new HostError('trust-went-back', `${what}: nothing was changed; find out who sent it`);
}
