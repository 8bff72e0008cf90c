/**
 * `beacon host sync` (DESIGN.md section 6): asks the CA, verifies strictly, and installs the whole or nothing. The order
 * of what is looked at is the body of one function. Tags are a convenience: without them everything is asked for whole.
 */

import { join } from 'node:path';
import type { Outside } from '@beacon/client';
import { TRUST_FOLDER } from './drop-in.ts';
import { HostError } from './error.ts';
import { statOf } from './facts.ts';
import { fetchTrust, type TrustTags } from './fetch-trust.ts';
import { installTrust, readFloor } from './install-trust.ts';
import type { Machine } from './machine.ts';
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
