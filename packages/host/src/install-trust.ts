/**
 * Puts trust documents into force: a whole folder of their version, on the disk, and then one rename of the link. A kill
 * leaves the old ones or the new ones, never a mixture. The one version before is kept. What was in force is remembered
 * apart, so that a folder that was deleted or put back does not make older documents acceptable (B11).
 */
import { mkdirSync, readdirSync, readlinkSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ProtocolError } from '@beacon/protocol/error';
import { parseStrictJsonBytes } from '@beacon/protocol/strict-json';
import { readTrustVersions, spellTrustVersions, TRUST_VERSION_KEYS } from '@beacon/protocol/trust-standing';
import { ValueReader } from '@beacon/protocol/value-reader';
import { TRUST_FOLDER } from './drop-in.ts';
import { placeFile, placeLink, readIfThere, syncPath } from './durable-file.ts';
import { HostError } from './error.ts';
import { statOf } from './facts.ts';
import { JOURNAL_FOLDER } from './journal-entry.ts';
import type { Machine } from './machine.ts';
import {
  type Floor,
  floorOf,
  listTrustFiles,
  trustVersion,
  trustVersions,
  userCaFile,
  type VerifiedTrust,
} from './trust-documents.ts';

/** The gate's own, as `trust-standing.ts` of the protocol spells it. */
const GATE_FLOOR = '/var/lib/beacon/trust-floor.json';
const FLOOR = `${JOURNAL_FOLDER}/trust-floor.json`;
const UNFINISHED = '.unfinished';
const ROOT = { uid: 0, gid: 0 };

/** Yields after each step; who stops asking leaves the machine as a kill would. */
export function* installTrust(machine: Machine, trust: VerifiedTrust): Generator<string> {
  const place = machine.at(TRUST_FOLDER);
  const version = trustVersion(trust);
  const current = join(place, 'current');
  const before =
    statOf(machine, `${TRUST_FOLDER}/current`)?.isSymbolicLink() === true ? readlinkSync(current) : undefined;
  // First: what was in force once is never fallen back behind, even where the next lines are not reached.
  writeFloor(machine, floorOf(trust));
  yield 'floor';
  if (before === version) {
    // It may have been damaged: each file of a version has one content.
    mkdirSync(join(place, version), { recursive: true, mode: 0o755 });
    for (const [name, bytes] of contentOf(trust)) {
      if (isAt(join(place, version, name), bytes)) continue;
      placeFile(join(place, version, name), bytes, 0o644, ROOT);
      yield name;
    }
  } else {
    const unfinished = join(place, UNFINISHED);
    rmSync(unfinished, { recursive: true, force: true });
    mkdirSync(unfinished, { mode: 0o755 });
    for (const [name, bytes] of contentOf(trust)) {
      placeFile(join(unfinished, name), bytes, 0o644, ROOT);
      yield name;
    }
    rmSync(join(place, version), { recursive: true, force: true });
    renameSync(unfinished, join(place, version));
    syncPath(place);
    yield `folder ${version}`;
    placeLink(current, version);
    yield `current is ${version}`;
  }
  for (const old of trustVersions(place).filter((name) => name !== version && name !== before)) {
    rmSync(join(place, old), { recursive: true });
  }
  if (readdirSync(place).includes(UNFINISHED)) rmSync(join(place, UNFINISHED), { recursive: true });
}

/** Whether every file of the version in force is as it was put there. */
export function isInstalled(machine: Machine, trust: VerifiedTrust): boolean {
  const current = machine.at(join(TRUST_FOLDER, 'current'));
  return contentOf(trust).every(([name, bytes]) => isAt(join(current, name), bytes));
}

function contentOf(trust: VerifiedTrust): [name: string, bytes: Buffer][] {
  return [...listTrustFiles(trust.files), ['user_ca.pub', userCaFile(trust.root)]];
}

function isAt(path: string, bytes: Buffer): boolean {
  return readIfThere(path)?.equals(bytes) === true;
}

/**
 * What must not be fallen behind: what `sync` remembers, and what a gate of this host has used, which stands in its records
 * too. Throws HostError `state-damaged`.
 */
export function readFloors(machine: Machine): Floor[] {
  return [
    readFloor(machine, FLOOR, (top) => {
      const read = top.members(['v', ...TRUST_VERSION_KEYS, 'root_key']);
      return { ...readTrustVersions(read), rootKey: read.root_key.text(8_192) };
    }),
    readFloor(machine, GATE_FLOOR, (top) => readTrustVersions(top.members(TRUST_VERSION_KEYS))),
  ].flatMap((floor) => (floor === undefined ? [] : [floor]));
}

function readFloor(machine: Machine, path: string, read: (top: ValueReader) => Floor): Floor | undefined {
  const bytes = readIfThere(machine.at(path));
  if (bytes === undefined) return undefined;
  try {
    return read(new ValueReader('trust-status-malformed', 'trust floor', parseStrictJsonBytes(bytes)));
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new HostError('state-damaged', `${path} is damaged: find out why; then remove it`, {
      cause: error,
    });
  }
}

/** Remembers what is in force. */
export function writeFloor(machine: Machine, floor: Required<Floor>): void {
  const text = JSON.stringify({ v: 1, ...spellTrustVersions(floor), root_key: floor.rootKey });
  mkdirSync(machine.at(JOURNAL_FOLDER), { recursive: true, mode: 0o700 });
  placeFile(machine.at(FLOOR), Buffer.from(`${text}\n`), 0o600, ROOT);
}
