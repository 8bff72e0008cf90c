/**
 * What was where Beacon now is: written down, and on the disk, before each change, so that a change that was broken off
 * can be taken back or gone on with, and `remove` leaves everything as it was. Of each path the oldest note counts; notes
 * since the last complete set-up are those that a failed one takes back.
 */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmdirSync,
  rmSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { ACCOUNT_FILES, removeAccount } from './accounts.ts';
import {
  appendLine,
  FRESH,
  placeFile,
  placeLink,
  readIfThere,
  removeFile,
  syncPath,
} from './durable-file.ts';
import { HostError } from './error.ts';
import {
  type Entry,
  isEntry,
  JOURNAL,
  JOURNAL_FOLDER,
  type JournalLine,
  parseLine,
} from './journal-entry.ts';
import type { Machine } from './machine.ts';

const KEPT = `${JOURNAL_FOLDER}/before`;
/** Folders that are Beacon's alone: what is in them goes with them. */
const OWN_FOLDERS = ['/etc/beacon', '/usr/lib/beacon', '/var/lib/beacon-sessions', '/opt/beacon/runners'];

export class Journal {
  readonly #machine: Machine;
  #lines: JournalLine[];

  private constructor(machine: Machine, lines: JournalLine[]) {
    this.#machine = machine;
    this.#lines = lines;
  }

  /** The journal of a machine, made where there is none. */
  static open(machine: Machine): Journal {
    mkdirSync(machine.at(KEPT), { recursive: true, mode: 0o700 });
    const journal = Journal.read(machine) ?? new Journal(machine, []);
    if (journal.#isRestored) {
      journal.forget();
      return Journal.open(machine);
    }
    return journal;
  }

  /** The journal of a machine that has one. Throws HostError `state-damaged`. */
  static read(machine: Machine): Journal | undefined {
    const text = readIfThere(machine.at(JOURNAL))?.toString('utf8');
    if (text === undefined) return undefined;
    // What was written without its end was followed by no change.
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    if (whole !== text) placeFile(machine.at(JOURNAL), Buffer.from(whole), 0o600, { uid: 0, gid: 0 });
    return new Journal(
      machine,
      whole
        .split('\n')
        .filter((line) => line !== '')
        .map(parseLine),
    );
  }

  /** Whether a set-up has ended in order and none was begun since. */
  get isComplete(): boolean {
    return this.#lines.at(-1)?.was === 'complete';
  }

  get #isRestored(): boolean {
    return this.#lines.at(-1)?.was === 'restored';
  }

  /** The notes of a set-up that has not ended. */
  get #open(): Entry[] {
    const complete = this.#lines.findLastIndex(({ was }) => was === 'complete');
    return this.#lines.slice(complete + 1).filter(isEntry);
  }

  /** Notes what is at `path`, before it is changed. */
  note(path: string): void {
    if (!this.#open.some((entry) => entry.path === path && entry.was !== 'account'))
      this.#add(this.#look(path));
  }

  /** Notes that an account is about to be made, and what the files of accounts were before the first. */
  noteAccount(name: string): void {
    const noted = this.#lines.filter(isEntry);
    if (!noted.some(({ was }) => was === 'account')) {
      this.note('/etc/.pwd.lock');
      for (const path of ACCOUNT_FILES) {
        const entry = this.#look(path);
        if (entry.was === 'file') this.#add({ ...entry, was: 'accounts' });
      }
    }
    if (!this.#open.some((entry) => entry.was === 'account' && entry.path === name)) {
      this.#add({ was: 'account', path: name });
    }
  }

  /** Whether nothing is noted. */
  get isEmpty(): boolean {
    return this.#lines.length === 0;
  }

  /** Begins with what an earlier journal, which is gone, must have held: a set-up that had ended in order. */
  begin(entries: readonly Entry[]): void {
    this.#replace([...entries, { was: 'complete', path: '' }]);
  }

  /** A set-up has ended in order: of each path the oldest note is kept, and no copy that no note names. */
  complete(): void {
    const seen = new Set<string>();
    const kept = this.#lines.filter(isEntry).filter((entry) => {
      const key = `${entry.was === 'account' ? 'account' : 'path'} ${entry.path}`;
      return !seen.has(key) && seen.add(key);
    });
    this.#replace([...kept, { was: 'complete', path: '' }]);
    const copies = new Set(kept.map((entry) => ('copy' in entry ? entry.copy : '')));
    for (const name of readdirSync(this.#machine.at(`${KEPT}/.`))) {
      if (!copies.has(name)) rmSync(join(this.#machine.at(KEPT), name), { force: true });
    }
  }

  /** Takes a set-up that has not ended back, newest first; yields after each step. */
  *rollBack(first: readonly string[]): Generator<string> {
    const open = this.#open;
    yield* this.#restore(open, first);
    const complete = this.#lines.findLastIndex(({ was }) => was === 'complete');
    this.#replace(this.#lines.slice(0, complete + 1));
  }

  /** Takes everything back, the paths of `first` before all others; yields after each step. */
  *restore(first: readonly string[]): Generator<string> {
    if (!this.#isRestored) {
      yield* this.#restore(this.#lines.filter(isEntry), first);
      this.#add({ was: 'restored', path: '' });
      yield 'all was taken back';
    }
    this.forget();
  }

  /** Removes the journal with its copies. */
  forget(): void {
    const at = (path: string): string => this.#machine.at(path);
    rmSync(at(KEPT), { recursive: true, force: true });
    removeFile(at(`${JOURNAL_FOLDER}/note.json`));
    removeFile(at(JOURNAL));
    for (const name of readdirSync(at(JOURNAL_FOLDER)))
      rmSync(join(at(JOURNAL_FOLDER), name), { recursive: true });
    rmdirSync(at(JOURNAL_FOLDER));
    this.#lines = [];
  }

  *#restore(entries: readonly Entry[], first: readonly string[]): Generator<string> {
    const backwards = [...entries].reverse().filter(({ was }) => was !== 'accounts');
    for (const path of first) {
      for (const entry of backwards.filter((one) => one.path === path)) {
        this.#undo(entry);
        yield `${entry.path} as before`;
      }
    }
    for (const entry of backwards.filter(({ path }) => !first.includes(path))) {
      this.#undo(entry);
      yield `${entry.path} as before`;
    }
    this.#restoreAccountFiles(entries);
    yield 'files of accounts as before';
  }

  #undo(entry: Entry): void {
    const path = this.#machine.at(entry.path);
    // What a kill left of a file that was not yet in its place.
    if (entry.was !== 'account') rmSync(`${path}${FRESH}`, { force: true });
    switch (entry.was) {
      case 'account':
        removeAccount(this.#machine, entry.path);
        break;
      case 'absent':
        this.#takeAway(entry.path);
        break;
      case 'folder':
        if (!existsSync(path)) mkdirSync(path);
        chownSync(path, entry.uid, entry.gid);
        chmodSync(path, entry.mode);
        break;
      case 'link':
        placeLink(path, entry.target);
        break;
      case 'file':
      case 'accounts':
        placeFile(path, { from: this.#copy(entry.copy) }, entry.mode, entry);
        break;
    }
  }

  #takeAway(path: string): void {
    const place = this.#machine.at(path);
    const stats = lstatSync(place, { throwIfNoEntry: false });
    if (stats === undefined) return;
    if (!stats.isDirectory()) removeFile(place);
    else if (OWN_FOLDERS.includes(path)) rmSync(place, { recursive: true });
    else if (readdirSync(place).length === 0) rmdirSync(place);
    syncPath(dirname(place));
  }

  /**
   * The system's programs keep copies (`passwd-`) of what was before the last change. Where the files are again as they
   * were, nobody else has changed anything since, and the copies become as before too.
   */
  #restoreAccountFiles(entries: readonly Entry[]): void {
    const noted = new Map(
      entries.flatMap((entry) => (entry.was === 'accounts' ? [[entry.path, entry] as const] : [])),
    );
    for (const [path, before] of noted) {
      if (path.endsWith('-')) continue;
      const [now, then] = [this.#machine.at(path), this.#copy(before.copy)].map(readIfThere);
      if (now === undefined || then?.equals(now) !== true) continue;
      const backup = noted.get(`${path}-`);
      if (backup === undefined) removeFile(this.#machine.at(`${path}-`));
      else this.#undo(backup);
    }
  }

  #look(path: string): Entry {
    const place = this.#machine.at(path);
    const stats = lstatSync(place, { throwIfNoEntry: false });
    if (stats === undefined) return { was: 'absent', path };
    if (stats.isSymbolicLink()) return { was: 'link', path, target: readlinkSync(place) };
    const { uid, gid } = stats;
    const mode = stats.mode & 0o7777;
    if (stats.isDirectory()) return { was: 'folder', path, mode, uid, gid };
    if (!stats.isFile()) {
      throw new HostError('cannot-work-here', `${path} is neither a file nor a folder: move it away`);
    }
    return { was: 'file', path, mode, uid, gid, copy: this.#keep(place) };
  }

  /** Keeps the bytes of a file; a link to the same bytes will do, for nothing here writes into a file that is there. */
  #keep(place: string): string {
    const names = readdirSync(this.#machine.at(`${KEPT}/.`)).map(Number);
    const name = String(Math.max(0, ...names) + 1);
    const copy = this.#copy(name);
    // The system's own programs write into files of accounts, and an operator into any other of /etc.
    if (place.startsWith(this.#machine.at('/usr/lib/beacon'))) linkSync(place, copy);
    else copyFileSync(place, copy);
    syncPath(copy);
    syncPath(dirname(copy));
    return name;
  }

  #copy(name: string): string {
    return join(this.#machine.at(KEPT), name);
  }

  #add(line: JournalLine): void {
    appendLine(this.#machine.at(JOURNAL), JSON.stringify(line));
    this.#lines.push(line);
  }

  #replace(lines: readonly JournalLine[]): void {
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    placeFile(this.#machine.at(JOURNAL), Buffer.from(text), 0o600, { uid: 0, gid: 0 });
    this.#lines = [...lines];
  }
}
