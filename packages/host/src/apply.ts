/**
 * Does a plan's steps, each noted before and whole after it; a step that is done already is left alone, so that a plan
 * can be begun again at any time. A generator: who stops asking leaves the machine as a kill would.
 */
import { chmodSync, chownSync, mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { makeAccount, readAccounts } from './accounts.ts';
import { placeFile, placeLink, readIfThere, removeFile, syncPath } from './durable-file.ts';
import { HostError } from './error.ts';
import { statOf } from './facts.ts';
import type { Journal } from './journal.ts';
import { JOURNAL_FOLDER } from './journal-entry.ts';
import { isUnmanaged, managerLinks, NO_UNIT } from './login-manager.ts';
import type { Machine } from './machine.ts';
import { describeStep, type EntriesStep, type FileStep, type FolderStep, type Step } from './plan.ts';
import { type Merged, mergeEntries } from './runner-entries.ts';
import { SUDO_RULE } from './sudo-rule.ts';
import { sha256 } from './trust-documents.ts';

const ROOT = { uid: 0, gid: 0 };

/** Yields what was done, after it was; what was done already is passed over. Throws HostError `step-failed`, … */
export function* applySteps(machine: Machine, journal: Journal, steps: readonly Step[]): Generator<string> {
  for (const step of steps) {
    if (isDone(machine, step)) continue;
    try {
      apply(machine, journal, step);
    } catch (error) {
      if (error instanceof HostError) throw error;
      const said = error instanceof Error ? error.message : String(error);
      throw new HostError(
        'step-failed',
        `${describeStep(step)} failed: ${said}: put that right and try again`,
        {
          cause: error,
        },
      );
    }
    yield describeStep(step);
  }
}

/** Whether the machine is as the step leaves it. */
export function isDone(machine: Machine, step: Step): boolean {
  switch (step.do) {
    case 'account': {
      const account = readAccounts(machine).get(step.account.name);
      return (
        account?.password === '*' &&
        account.shell === step.account.shell &&
        account.home === step.account.home
      );
    }
    case 'folder': {
      const stats = statOf(machine, step.path);
      return (
        stats?.isDirectory() === true &&
        (step.theirs === true || isOwned(stats, step.mode, ownerOf(machine, step) ?? -1))
      );
    }
    case 'file': {
      const stats = statOf(machine, step.path);
      if (stats?.isFile() !== true) return false;
      if (!isOwned(stats, step.mode)) return false;
      return step.theirs === true || readFileSync(machine.at(step.path)).equals(step.content);
    }
    case 'copy': {
      const stats = statOf(machine, step.path);
      if (stats?.isFile() !== true || !isOwned(stats, step.mode)) return false;
      return sha256(readFileSync(machine.at(step.path))) === step.sha256;
    }
    case 'entries':
      return mergeInto(machine, step)?.changed.length === 0;
    case 'link': {
      const stats = statOf(machine, step.path);
      return stats?.isSymbolicLink() === true && readlinkSync(machine.at(step.path)) === step.target;
    }
    case 'enable':
      return statOf(machine, step.link)?.isSymbolicLink() === true;
    case 'unmanaged':
      return isUnmanaged(machine, step.login);
  }
}

function apply(machine: Machine, journal: Journal, step: Step): void {
  switch (step.do) {
    case 'account': {
      const { account } = step;
      const found = readAccounts(machine).get(account.name);
      if (found !== undefined && (found.shell !== account.shell || found.home !== account.home)) {
        throw new HostError(
          'cannot-work-here',
          `the account ${account.name} is there and is somebody else's (home ${found.home}, shell ${found.shell}): remove it, or choose another --login`,
        );
      }
      if (found === undefined) journal.noteAccount(account.name);
      makeAccount(machine, account);
      break;
    }
    case 'folder':
      applyFolder(machine, journal, step.path, step.mode, requireOwner(machine, step));
      break;
    case 'file':
      applyFile(machine, journal, step);
      break;
    case 'copy':
      journal.note(step.path);
      placeFile(
        machine.at(step.path),
        typeof step.from === 'string' ? { from: step.from } : step.from,
        step.mode,
        ROOT,
      );
      break;
    case 'entries': {
      const merged = mergeInto(machine, step);
      if (merged === undefined) throw new HostError('step-failed', `${step.path} is not there`);
      journal.note(step.path);
      placeFile(machine.at(step.path), merged.content, step.mode, ROOT);
      break;
    }
    case 'link':
      journal.note(step.path);
      placeLink(machine.at(step.path), step.target);
      break;
    case 'enable': {
      const wants = dirname(step.link);
      if (statOf(machine, wants) === undefined) applyFolder(machine, journal, wants, 0o755);
      journal.note(step.link);
      placeLink(machine.at(step.link), `/etc/systemd/system/${step.unit}`);
      break;
    }
    case 'unmanaged': {
      const links = managerLinks(machine, step.login);
      if (links === undefined) throw new HostError('step-failed', `there is no account ${step.login}`);
      for (const link of links) {
        journal.note(link);
        placeLink(machine.at(link), NO_UNIT);
      }
      break;
    }
  }
}

function applyFolder(machine: Machine, journal: Journal, path: string, mode: number, uid = 0): void {
  const place = machine.at(path);
  journal.note(path);
  if (statOf(machine, path) === undefined) mkdirSync(place, { mode: 0o700 });
  else if (statOf(machine, path)?.isDirectory() !== true) {
    throw new HostError('cannot-work-here', `${path} is there and is no folder: move it away`);
  }
  chownSync(place, uid, 0);
  chmodSync(place, mode);
  syncPath(dirname(place));
}

function applyFile(machine: Machine, journal: Journal, step: FileStep): void {
  journal.note(step.path);
  if (step.path === SUDO_RULE) requireSudoAccepts(machine, step.content);
  const theirs = step.theirs === true ? readIfThere(machine.at(step.path)) : undefined;
  placeFile(machine.at(step.path), theirs ?? step.content, step.mode, ROOT);
}

/** A rule that sudo cannot read would keep everybody from sudo, so it is read before it is in place. */
function requireSudoAccepts(machine: Machine, content: Buffer): void {
  const trial = `${JOURNAL_FOLDER}/sudoers-trial`;
  try {
    placeFile(machine.at(trial), content, 0o440, ROOT);
    const { status, stderr, stdout } = machine.run(['visudo', '-c', '-q', '-f', trial]);
    if (status === 0) return;
    throw new HostError('sudo-refuses', `sudo refuses its rule: ${(stderr || stdout).trim()}: update sudo`);
  } finally {
    removeFile(machine.at(trial));
  }
}

/** The operator's list with the entries; undefined where there is none. Throws HostError `cannot-work-here`. */
export function mergeInto(machine: Machine, step: EntriesStep): Merged | undefined {
  const present = readIfThere(machine.at(step.path));
  return present === undefined ? undefined : mergeEntries(present, step.entries);
}

/** The uid whose a folder is to be; undefined where there is no such account yet. */
export function ownerOf(machine: Machine, { owner }: FolderStep): number | undefined {
  return owner === undefined ? 0 : readAccounts(machine).get(owner)?.uid;
}

function requireOwner(machine: Machine, step: FolderStep): number {
  const uid = ownerOf(machine, step);
  if (uid !== undefined) return uid;
  throw new HostError(
    'step-failed',
    `${step.path} is to be of the account ${step.owner}, which is not there`,
  );
}

function isOwned(
  stats: { readonly uid: number | bigint; readonly gid: number | bigint; readonly mode: number | bigint },
  mode: number,
  uid = 0,
): boolean {
  return Number(stats.uid) === uid && Number(stats.gid) === 0 && (Number(stats.mode) & 0o7777) === mode;
}
