/**
 * What this host trusts now (DESIGN.md section 6): the two signed documents and the revocation list from the folder to
 * which `current` points, resolved once for each look, so that the parts of one look belong together. Verified from the
 * pinned key down every time that a file has changed; time and the floor of versions are looked at every time.
 */
import { createHash } from 'node:crypto';
import { realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { compilePattern } from '@beacon/protocol/pattern';
import {
  type HostIdentity,
  parseTrustRoot,
  parseTrustStatus,
  TRUST_ROOT_NAMESPACE,
  TRUST_STATUS_NAMESPACE,
  type TrustRoot,
  type TrustStatus,
} from '@beacon/protocol/trust';
import {
  followHandovers,
  HANDOVERS_FILE,
  type IsSignedBy,
  parseHandovers,
} from '@beacon/protocol/trust-handover';
import { findStale } from '@beacon/protocol/trust-standing';
import { decodeKrl, type Krl } from '@beacon/ssh/krl';
import { isSameKey, type PublicKey, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { verifyMessage } from '@beacon/ssh/sshsig';
import { GateError } from './error.ts';
import { type Owner, readSafeFile, requireSafePath } from './safe-path.ts';
import type { TrustFloor } from './trust-floor.ts';

export interface Trust {
  readonly root: TrustRoot;
  readonly status: TrustStatus;
  readonly krl: Krl;
  /** The keys whose certificates may open a gate. */
  readonly authorities: readonly PublicKey[];
}

export interface TrustOptions {
  /** The link `current`. */
  readonly link: string;
  readonly identity: HostIdentity;
  readonly owner: Owner;
  readonly floor: TrustFloor;
}

interface Verified extends Trust {
  readonly signature: string;
  readonly rootSha256: string;
  readonly statusSha256: string;
}

const FILES = ['root.json', 'root.json.sig', 'status.json', 'status.json.sig', 'krl'] as const;

export class TrustReader {
  readonly #options: TrustOptions;
  #verified: Verified | undefined;

  constructor(options: TrustOptions) {
    this.#options = options;
  }

  /** Throws GateError `stale-trust`, `trust-refused`, `trust-went-back` or `clock-went-back`. */
  read(now: Date): Trust {
    const verified = this.#verify();
    const { root, status } = verified;
    const stale = findStale(verified, now);
    if (stale?.kind === 'clock-behind')
      throw new GateError('clock-went-back', `${stale.what}: set the clock`);
    if (stale !== undefined) throw new GateError('stale-trust', `${stale.what}: run beacon host sync`);
    this.#options.floor.raise({
      root: root.version,
      rootSha256: verified.rootSha256,
      status: status.version,
      statusSha256: verified.statusSha256,
    });
    return verified;
  }

  /** A text that changes when the documents do; cheap enough for every second. */
  fingerprint(): string {
    try {
      return fingerprintOf(realpathSync(this.#options.link));
    } catch {
      return 'unreadable';
    }
  }

  #verify(): Verified {
    let folder: string;
    let signature: string;
    try {
      folder = requireSafePath(this.#options.link, this.#options.owner);
      signature = fingerprintOf(folder);
    } catch (error) {
      throw new GateError('trust-refused', 'the trust documents are missing: run beacon host sync', {
        cause: error,
      });
    }
    if (this.#verified?.signature === signature) return this.#verified;
    this.#verified = undefined;
    try {
      this.#verified = { ...verifyFolder(folder, this.#options), signature };
      return this.#verified;
    } catch (error) {
      if (error instanceof GateError && error.code === 'trust-refused') throw error;
      const why = error instanceof Error ? error.message : String(error);
      throw new GateError('trust-refused', `the trust documents are refused: ${why}`, { cause: error });
    }
  }
}

function verifyFolder(folder: string, { identity, owner }: TrustOptions): Omit<Verified, 'signature'> {
  const read = (name: string): Buffer => readSafeFile(join(folder, name), owner);
  const signedBy = (line: string, name: 'root.json' | 'status.json', namespace: string): Buffer => {
    const message = read(name);
    if (!isSignedBy(line, { signature: read(`${name}.sig`).toString('latin1'), namespace, message })) {
      throw refused(`${name} is not signed by the key that may sign it`);
    }
    return message;
  };
  const handovers = isThere(join(folder, HANDOVERS_FILE)) ? parseHandovers(read(HANDOVERS_FILE)) : [];
  const { key, since } = followHandovers(identity.rootKey, handovers, isSignedBy);
  const rootBytes = signedBy(key, 'root.json', TRUST_ROOT_NAMESPACE);
  const root = parseTrustRoot(rootBytes);
  if (root.version < since) throw refused('the root is older than its key');
  if (!compilePattern(root.hosts).matches(identity.host) || !root.logins.includes(identity.login)) {
    throw refused(`the root was not made for ${identity.login} on ${identity.host}`);
  }
  const statusBytes = signedBy(root.statusKey, 'status.json', TRUST_STATUS_NAMESPACE);
  const status = parseTrustStatus(statusBytes);
  if (status.rootVersion !== root.version) throw refused('root and status do not belong together');
  const list = read('krl');
  if (list.length !== status.krl.bytes || sha256(list) !== status.krl.sha256) {
    throw refused('the revocation list is not the one that the status names');
  }
  const krl = decodeKrl(list);
  if (!krl.sealed) throw refused('the revocation list is cut: it has no seal');
  return {
    root,
    status,
    krl,
    authorities: root.userCa.map((line) => parsePublicKeyLine(line).key),
    rootSha256: sha256(rootBytes),
    statusSha256: sha256(statusBytes),
  };
}

const isSignedBy: IsSignedBy = (line, signed) =>
  isSameKey(verifyMessage(signed), parsePublicKeyLine(line).key);

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

function fingerprintOf(folder: string): string {
  const stats = FILES.map((name) => statSync(join(folder, name), { bigint: true }));
  const handovers = statSync(join(folder, HANDOVERS_FILE), { bigint: true, throwIfNoEntry: false });
  return [
    folder,
    ...[...stats, ...(handovers === undefined ? [] : [handovers])].map(
      ({ ino, mtimeNs, ctimeNs, size }) => `${ino}.${mtimeNs}.${ctimeNs}.${size}`,
    ),
  ].join(' ');
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function refused(what: string): GateError {
  return new GateError('trust-refused', `${what}: run beacon host sync`);
}
