/**
 * `beacon host remove`: takes a managed host back. The drop-in goes first, and sshd is told, before anything that it
 * names; then the rest, newest first, until everything is as it was before `init`. What the gate has recorded is kept
 * unless it is asked for too.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { readAccounts } from './accounts.ts';
import { DROP_IN } from './drop-in.ts';
import { placeFile, readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import { CERTIFICATE_DROP_IN } from './host-certificate.ts';
import { requireRoot } from './init.ts';
import { Journal } from './journal.ts';
import { JOURNAL, JOURNAL_FOLDER } from './journal-entry.ts';
import { forgetLastSync } from './last-sync.ts';
import { withLock } from './lock.ts';
import type { Machine } from './machine.ts';
import { readNote } from './note.ts';
import { ALLOWLIST, GATE_STATE, wantedAccounts } from './plan.ts';
import { forgetUnits, reloadSshd, stopTimer } from './reload.ts';
import { endRunners } from './runners-here.ts';
import { isSetUp } from './take-over.ts';

export interface RemoveOptions {
  /** Remove the gate's records too. */
  readonly purge: boolean;
  readonly report: (line: string) => void;
}

/** Throws HostError `not-a-host` on a machine that is none, `state-damaged`, `locked`, `step-failed`. */
export async function removeHost(machine: Machine, { purge, report }: RemoveOptions): Promise<void> {
  requireRoot();
  if (isSetUp(machine) && !existsSync(machine.at(JOURNAL))) {
    throw new HostError(
      'state-damaged',
      `what init wrote down in ${JOURNAL_FOLDER} is gone: call init once more as the first time, which takes over what is here; then remove`,
    );
  }
  if (!existsSync(machine.at(JOURNAL_FOLDER))) {
    throw new HostError('not-a-host', 'this machine is no managed host: there is nothing to take back');
  }
  await withLock(machine, async () => {
    for (const line of removeSteps(machine)) report(line);
    forgetLastSync(machine);
    if (purge) rmSync(machine.at(GATE_STATE), { recursive: true, force: true });
  });
}

/** The steps alone; who stops asking leaves the machine as a kill would. */
export function* removeSteps(machine: Machine): Generator<string> {
  const journal = Journal.read(machine);
  if (journal === undefined) {
    // Nothing was changed yet when the first set-up was broken off, or everything was taken back already.
    rmSync(machine.at(JOURNAL_FOLDER), { recursive: true, force: true });
    return;
  }
  keepAllowlist(machine);
  stopTimer(machine);
  yield* endRunners(machine);
  let isInForce = true;
  const dropIns = [DROP_IN, CERTIFICATE_DROP_IN];
  for (const line of journal.restore(dropIns)) {
    if (isInForce && !dropIns.some((path) => existsSync(machine.at(path)))) {
      reloadSshd(machine, machine.find('sshd') ?? '/usr/sbin/sshd');
      endProcesses(machine);
      isInForce = false;
    }
    yield line;
  }
  forgetUnits(machine);
}

/** The operator's own list is worth keeping beside the records. */
function keepAllowlist(machine: Machine): void {
  const bytes = readIfThere(machine.at(ALLOWLIST));
  if (bytes === undefined || !existsSync(machine.at(GATE_STATE))) return;
  mkdirSync(machine.at(GATE_STATE), { recursive: true });
  placeFile(machine.at(`${GATE_STATE}/allowlist.json.removed`), bytes, 0o600, { uid: 0, gid: 0 });
}

/** What still runs under the accounts that are about to go: an account with processes cannot be removed. */
function endProcesses(machine: Machine): void {
  const note = readNote(machine);
  if (!machine.live || note === undefined) return;
  const accounts = readAccounts(machine);
  const uids = new Set(
    wantedAccounts(note, '').flatMap(({ name }) => {
      const uid = accounts.get(name)?.uid;
      return uid === undefined || uid === 0 ? [] : [uid];
    }),
  );
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const [, uid] = /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
      if (uids.has(Number(uid))) process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}
