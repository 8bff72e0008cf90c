/**
 * The newest trust documents that a gate of this host has used: older ones are refused, and so is another document with
 * the same version (TUF 5.4.3). The floor stands in a file and in the record chain, so that deleting the file does not
 * lower it. A new root begins the status' versions anew.
 */
import { readFileSync } from 'node:fs';
import { parseStrictJson } from '@beacon/protocol/strict-json';
import { ValueReader } from '@beacon/protocol/value-reader';
import { isCode, replaceFile } from './durable-file.ts';
import { GateError } from './error.ts';
import { withLock } from './lock.ts';
import type { Records } from './records.ts';

/** A version and the SHA-256 of the document's exact bytes, for root and status. */
export interface TrustVersions {
  readonly root: number;
  readonly rootDigest: string;
  readonly status: number;
  readonly statusDigest: string;
}

const KIND = 'trust-advanced';

export class TrustFloor {
  readonly #file: string;
  readonly #lock: string;
  readonly #records: Records;
  #known: TrustVersions | undefined;

  constructor(file: string, lock: string, records: Records) {
    this.#file = file;
    this.#lock = lock;
    this.#records = records;
  }

  /** Throws GateError `trust-went-back` for what lies below the floor; raises the floor to what does not. */
  raise(found: TrustVersions): void {
    if (this.#known !== undefined && isSame(this.#known, found)) return;
    const floor = this.#read();
    if (floor !== undefined) requireNotBelow(floor, found);
    if (floor === undefined || !isSame(floor, found)) {
      this.#records.append({ kind: KIND, facts: { ...spell(found) } });
      withLock(this.#lock, () => {
        const present = this.#readFile();
        if (present !== undefined) requireNotBelow(present, found);
        replaceFile(this.#file, `${JSON.stringify(spell(found))}\n`);
      });
    }
    this.#known = found;
  }

  #read(): TrustVersions | undefined {
    const present = this.#readFile();
    if (present !== undefined) return present;
    let newest: TrustVersions | undefined;
    for (const { record } of this.#records.select(({ kind }) => kind === KIND)) {
      newest = readVersions({ ...record.facts });
    }
    return newest;
  }

  #readFile(): TrustVersions | undefined {
    let text: string;
    try {
      text = readFileSync(this.#file, 'utf8');
    } catch (error) {
      if (isCode(error, 'ENOENT')) return undefined;
      throw new GateError('state-unavailable', `${this.#file} cannot be read: look at the disk`, {
        cause: error,
      });
    }
    return readVersions(parseStrictJson(text));
  }
}

function requireNotBelow(floor: TrustVersions, found: TrustVersions): void {
  const isOlder = found.root < floor.root || (found.root === floor.root && found.status < floor.status);
  const isOther =
    (found.root === floor.root && found.rootDigest !== floor.rootDigest) ||
    (found.root === floor.root && found.status === floor.status && found.statusDigest !== floor.statusDigest);
  if (isOlder || isOther) {
    throw new GateError(
      'trust-went-back',
      `the host has used trust root ${floor.root} and status ${floor.status}, and is now shown ${
        isOlder ? 'older ones' : 'others of the same version'
      }: run beacon host sync, and find out who put them there`,
    );
  }
}

function isSame(a: TrustVersions, b: TrustVersions): boolean {
  return (
    a.root === b.root &&
    a.status === b.status &&
    a.rootDigest === b.rootDigest &&
    a.statusDigest === b.statusDigest
  );
}

function spell(versions: TrustVersions): Record<string, string | number> {
  return {
    root: versions.root,
    root_sha256: versions.rootDigest,
    status: versions.status,
    status_sha256: versions.statusDigest,
  };
}

function readVersions(value: ConstructorParameters<typeof ValueReader>[2]): TrustVersions {
  const read = new ValueReader('trust-status-malformed', 'trust floor', value).members(
    ['root', 'root_sha256', 'status', 'status_sha256'],
    ['torn_bytes', 'clock'],
  );
  return {
    root: read.root.integer(1, Number.MAX_SAFE_INTEGER),
    rootDigest: read.root_sha256.text(64),
    status: read.status.integer(1, Number.MAX_SAFE_INTEGER),
    statusDigest: read.status_sha256.text(64),
  };
}
