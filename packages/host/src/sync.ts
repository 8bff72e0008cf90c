/**
 * `beacon host sync` (DESIGN.md section 6): asks the CA, verifies strictly, and installs the whole or nothing. The order
 * of what is looked at is the body of one function. Tags are a convenience: without them everything is asked for whole.
 */

import { join } from 'node:path';
import type { Outside } from '@beacon/client';
import { ProtocolError } from '@beacon/protocol/error';
import { parseStrictJsonBytes } from '@beacon/protocol/strict-json';
import { ValueReader } from '@beacon/protocol/value-reader';
import { TRUST_FOLDER } from './drop-in.ts';
import { placeFile, readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import { statOf } from './facts.ts';
import { fetchTrust, type TrustTags } from './fetch-trust.ts';
import { requireRoot } from './init.ts';
import { installTrust, readFloor } from './install-trust.ts';
import { JOURNAL_FOLDER } from './journal-entry.ts';
import type { Machine } from './machine.ts';
import { readNote } from './note.ts';
import {
  readTrustFolder,
  requireFresh,
  requireNotBelow,
  requireNotOlder,
  trustVersion,
  type VerifiedTrust,
  verifyTrust,
} from './trust-documents.ts';
import type { Wish } from './wish.ts';

const TAGS = `${JOURNAL_FOLDER}/tags.json`;

export interface SyncOptions {
  readonly outside: Outside;
  /** The tags of the last time; none is fine. */
  readonly tags: TrustTags;
}

export interface Synced {
  /** The version in force, `<root>-<status>`. */
  readonly version: string;
  readonly changed: boolean;
  readonly tags: TrustTags;
}

/**
 * {@link syncTrust} for the host that this machine is, with the tags of the last time, which stay in a file. Throws
 * HostError `not-a-host`, `locked` too.
 */
export async function syncHost(machine: Machine, outside: Outside): Promise<Synced> {
  requireRoot();
  const note = readNote(machine);
  if (note === undefined) {
    throw new HostError('not-a-host', 'this machine is no managed host: make it one with beacon host init');
  }
  const synced = await syncTrust(machine, note, { outside, tags: readTags(machine) });
  if (synced.changed) {
    placeFile(machine.at(TAGS), Buffer.from(`${JSON.stringify(synced.tags)}\n`), 0o600, { uid: 0, gid: 0 });
  }
  return synced;
}

/** Throws ClientError `unreachable`, …, HostError `answer-malformed`, `trust-…`, `clock-wrong`; then nothing has changed. */
export async function syncTrust(
  machine: Machine,
  wish: Wish,
  { outside, tags }: SyncOptions,
): Promise<Synced> {
  if (wish.ca === undefined) {
    throw new HostError(
      'usage',
      'this host has no CA to ask: its trust documents are carried by hand, with init --trust',
    );
  }
  const present = readPresent(machine, wish);
  const known = present === undefined ? undefined : { files: present.files, tags };
  const fetched = await fetchTrust(outside, wish.ca, known);
  const now = outside.now();
  if (fetched === undefined) {
    const unchanged = requirePresent(present);
    requireFresh(unchanged, now);
    return { version: trustVersion(unchanged), changed: false, tags };
  }
  const next = verifyTrust(fetched.files, wish);
  requireFresh(next, now);
  if (present !== undefined) requireNotOlder(present, next);
  const floor = readFloor(machine);
  if (floor !== undefined) requireNotBelow(floor, next);
  for (const _step of installTrust(machine, next));
  return { version: trustVersion(next), changed: true, tags: fetched.tags };
}

/** What is in force, where it holds. */
function readPresent(machine: Machine, wish: Wish): VerifiedTrust | undefined {
  const current = join(TRUST_FOLDER, 'current');
  if (statOf(machine, current) === undefined) return undefined;
  try {
    return verifyTrust(readTrustFolder(machine.at(current)), wish);
  } catch (error) {
    if (error instanceof HostError) return undefined;
    throw error;
  }
}

function requirePresent(present: VerifiedTrust | undefined): VerifiedTrust {
  if (present !== undefined) return present;
  throw new HostError('answer-malformed', 'the CA says that nothing has changed, but this host has nothing');
}

/** What cannot be read is no tag. */
function readTags(machine: Machine): TrustTags {
  try {
    const bytes = readIfThere(machine.at(TAGS));
    const top = new ValueReader('trust-status-malformed', 'tags', bytes && parseStrictJsonBytes(bytes));
    const { root, status, krl } = top.members([], ['root', 'status', 'krl']);
    return {
      ...(root === undefined ? {} : { root: root.text(200) }),
      ...(status === undefined ? {} : { status: status.text(200) }),
      ...(krl === undefined ? {} : { krl: krl.text(200) }),
    };
  } catch (error) {
    if (error instanceof ProtocolError) return {};
    throw error;
  }
}
