/**
 * `beacon host sync` (DESIGN.md section 6): what a managed host does every minute. Trust documents come first, and nothing
 * that follows holds them up or takes them back.
 */
import type { Outside } from '@beacon/client';
import { HostError } from './error.ts';
import { requireRoot } from './init.ts';
import type { Machine } from './machine.ts';
import { readNote } from './note.ts';
import { type SyncedTrust, syncTrust } from './sync-trust.ts';

export type Synced = Pick<SyncedTrust, 'version' | 'changed'>;

/**
 * {@link syncTrust} for the host that this machine is, which must be one. Throws HostError `not-a-host` too.
 */
export async function syncHost(machine: Machine, outside: Outside): Promise<Synced> {
  requireRoot();
  const note = readNote(machine);
  if (note === undefined) {
    throw new HostError('not-a-host', 'this machine is no managed host: make it one with beacon host init');
  }
  const { version, changed } = await syncTrust(machine, note, { outside });
  return { version, changed };
}
