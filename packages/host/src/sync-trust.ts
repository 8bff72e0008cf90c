/**
 * Bringing trust documents up to date (DESIGN.md section 6): asks the CA, verifies strictly, and installs the whole or
 * nothing. What is asked for is asked without the lock, so that a slow CA holds nobody up; what is there is looked at
 * again with it. Tags are a convenience: without them everything is asked for whole.
 */
import { join } from 'node:path';
import type { Outside } from '@beacon/client';
import { ProtocolError } from '@beacon/protocol/error';
import { parseStrictJsonBytes } from '@beacon/protocol/strict-json';
import { formatHandovers, HANDOVERS_FILE, parseHandovers } from '@beacon/protocol/trust-handover';
import { ValueReader } from '@beacon/protocol/value-reader';
import { TRUST_FOLDER } from './drop-in.ts';
import { placeFile, readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import { statOf } from './facts.ts';
import { fetchHandovers } from './fetch-handovers.ts';
import { type FetchedTrust, fetchTrust, type TrustTags } from './fetch-trust.ts';
import { installTrust, isInstalled, readFloors } from './install-trust.ts';
import { JOURNAL_FOLDER } from './journal-entry.ts';
import { withLock } from './lock.ts';
import type { Machine } from './machine.ts';
import {
  readTrustFolder,
  requireFresh,
  requireNotBelow,
  requireNotOlder,
  type TrustFiles,
  trustVersion,
  type VerifiedTrust,
  verifyTrust,
} from './trust-documents.ts';
import type { Wish } from './wish.ts';

const TAGS = `${JOURNAL_FOLDER}/tags.json`;

export interface SyncTrustOptions {
  readonly outside: Outside;
  /** How long to wait for who else changes this host. */
  readonly patienceMs?: number;
}

export interface SyncedTrust {
  readonly trust: VerifiedTrust;
  /** The version in force, `<root>-<status>`. */
  readonly version: string;
  readonly changed: boolean;
}

/** Throws ClientError `unreachable`, …, HostError `answer-malformed`, `trust-…`, `clock-wrong`, `locked`; then nothing has changed. */
export async function syncTrust(
  machine: Machine,
  wish: Wish,
  { outside, patienceMs }: SyncTrustOptions,
): Promise<SyncedTrust> {
  const ca = requireCa(wish);
  const present = readPresent(machine, wish);
  const known =
    present === undefined
      ? undefined
      : { files: present.files, tags: isInstalled(machine, present) ? readTags(machine, present) : {} };
  const fetched = await fetchTrust(outside, ca, known);
  if (fetched === undefined) {
    const unchanged = requirePresent(present);
    requireFresh(unchanged, outside.now());
    for (const floor of readFloors(machine)) requireNotBelow(floor, unchanged);
    return { trust: unchanged, version: trustVersion(unchanged), changed: false };
  }
  const next = verifyTrust(await followKey(outside, wish, fetched, present), wish);
  await withLock(
    machine,
    () => {
      if (statOf(machine, TRUST_FOLDER) === undefined)
        throw new HostError('not-a-host', 'this machine was taken back meanwhile: nothing was changed');
      requireFresh(next, outside.now());
      const now = readPresent(machine, wish);
      if (now !== undefined) requireNotOlder(now, next);
      for (const floor of readFloors(machine)) requireNotBelow(floor, next);
      for (const _step of installTrust(machine, next));
      const tags = JSON.stringify({ of: trustVersion(next), ...fetched.tags });
      placeFile(machine.at(TAGS), Buffer.from(`${tags}\n`), 0o600, { uid: 0, gid: 0 });
      return Promise.resolve();
    },
    patienceMs,
  );
  return { trust: next, version: trustVersion(next), changed: true };
}

/** What is in force, where it holds. */
export function readPresent(machine: Machine, wish: Wish): VerifiedTrust | undefined {
  const current = join(TRUST_FOLDER, 'current');
  if (statOf(machine, current) === undefined) return undefined;
  try {
    return verifyTrust(readTrustFolder(machine.at(current)), wish);
  } catch (error) {
    if (error instanceof HostError) return undefined;
    throw error;
  }
}

/** The tags of these documents. What cannot be read, or belongs to others, is no tag. */
function readTags(machine: Machine, present: VerifiedTrust): TrustTags {
  try {
    const bytes = readIfThere(machine.at(TAGS));
    const top = new ValueReader('trust-status-malformed', 'tags', bytes && parseStrictJsonBytes(bytes));
    const { of, root, status, krl } = top.members(['of'], ['root', 'status', 'krl']);
    if (of.text(40) !== trustVersion(present)) return {};
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

/** The CA that this host asks. Throws HostError `usage`. */
export function requireCa({ ca }: Wish): string {
  if (ca !== undefined) return ca;
  throw new HostError(
    'usage',
    'this host has no CA to ask: its trust documents are carried by hand, with init --trust',
  );
}

/** The fetched documents with the handovers that lead to the key of their root, as far as this host can follow. */
async function followKey(
  outside: Outside,
  wish: Wish,
  { files, newest }: FetchedTrust,
  present: VerifiedTrust | undefined,
): Promise<TrustFiles> {
  if (newest === undefined) return files;
  const known = {
    version: present?.root.version ?? 0,
    rootKey: present?.rootKeys.at(-1) ?? wish.rootKey,
  };
  const further = await fetchHandovers(outside, requireCa(wish), known, newest);
  if (further.length === 0) return files;
  const before = present?.files[HANDOVERS_FILE];
  const all = [...(before === undefined ? [] : parseHandovers(before)), ...further];
  return { ...files, [HANDOVERS_FILE]: Buffer.from(formatHandovers(all)) };
}

function requirePresent(present: VerifiedTrust | undefined): VerifiedTrust {
  if (present !== undefined) return present;
  throw new HostError('answer-malformed', 'the CA says that nothing has changed, but this host has nothing');
}
