/**
 * The newest trust documents that a gate of this host has used: older ones are refused, and so is another document with
 * the same version (TUF 5.4.3). The floor stands in a file and in the record chain, so that deleting the file does not
 * lower it. A new root begins the status' versions anew.
 */
import { readFileSync } from 'node:fs';
import { parseStrictJson } from '@beacon/protocol/strict-json';
import {
  findStepBack,
  readTrustVersions,
  spellTrustVersions,
  TRUST_VERSION_KEYS,
  type TrustVersions,
} from '@beacon/protocol/trust-standing';
import { ValueReader } from '@beacon/protocol/value-reader';
import { isCode, replaceFile } from './durable-file.ts';
import { GateError } from './error.ts';
import { withLock } from './lock.ts';
import type { Records } from './records.ts';

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
      this.#records.append({ kind: KIND, facts: spellTrustVersions(found) });
      withLock(this.#lock, () => {
        const present = this.#readFile();
        if (present !== undefined) requireNotBelow(present, found);
        replaceFile(this.#file, `${JSON.stringify(spellTrustVersions(found))}\n`);
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
  const what = findStepBack(floor, found);
  if (what === undefined) return;
  throw new GateError(
    'trust-went-back',
    `on this host ${what}: run beacon host sync, and find out who put it there`,
  );
}

function isSame(a: TrustVersions, b: TrustVersions): boolean {
  return (
    a.root === b.root &&
    a.status === b.status &&
    a.rootSha256 === b.rootSha256 &&
    a.statusSha256 === b.statusSha256
  );
}

function readVersions(value: ConstructorParameters<typeof ValueReader>[2]): TrustVersions {
  const reader = new ValueReader('trust-status-malformed', 'trust floor', value);
  return readTrustVersions(reader.members(TRUST_VERSION_KEYS, ['torn_bytes', 'clock']));
}
