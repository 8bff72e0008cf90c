/**
 * What a session has started and not settled yet, on the disk before it happens, so that another gate or
 * `beacon gate recover` can stop it and take it back when this one is gone. An undo is kept by name and public
 * parameters; one that needs a secret cannot be kept, and is then left behind by name. One file a session, written anew
 * with each change; it goes when nothing is left to do.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isCode, makeFolder, removeDurably, replaceFile } from './durable-file.ts';
import { GateError } from './error.ts';
import { withLock } from './lock.ts';
import { identifyProcess, isAlive, type ProcessIdentity } from './process-identity.ts';

/** A command that was started and may have to be taken back. */
export interface StartedCommand {
  readonly id: number;
  readonly grant: string;
  readonly index: number;
  readonly command: string;
  readonly unit: string;
  /** The name that its undo runs under. */
  readonly undo: { readonly command: string; readonly params: string; readonly needsSecret: boolean } | null;
}

export interface SessionState {
  readonly serial: string;
  readonly person: string;
  readonly service: string;
  readonly host: string;
  readonly grant: string;
  /** UTC with milliseconds. */
  readonly until: string;
  /** What runs now, a command's or an undo's unit; a command that the records say has ended does not. */
  readonly unit: string | null;
  /** Oldest first. */
  readonly started: readonly StartedCommand[];
}

interface SessionFile extends SessionState {
  readonly owner: ProcessIdentity;
}

export class SessionJournal {
  readonly #folder: string;
  readonly #lock: string;

  constructor(folder: string, lock: string) {
    makeFolder(folder);
    this.#folder = folder;
    this.#lock = lock;
  }

  /** Writes the state of this process' session. */
  keep(state: SessionState): void {
    replaceFile(this.#place(state.serial), `${JSON.stringify({ ...state, owner: ownIdentity() })}\n`);
  }

  /** Forgets a session of which nothing is left. */
  settle(serial: string): void {
    removeDurably(this.#place(serial));
  }

  /** Makes this process the owner of one session whose own is gone; undefined where there is none. */
  adopt(): SessionState | undefined {
    if (this.#orphans().length === 0) return undefined;
    return withLock(this.#lock, () => {
      const [orphan] = this.#orphans();
      if (orphan === undefined) return undefined;
      const { owner: _, ...state } = orphan;
      this.keep(state);
      return state;
    });
  }

  /** Which commands of a grant, by their index in it, a session that goes on may take back still. */
  unsettled(grant: string): ReadonlySet<number> {
    const started = this.#files().flatMap((file) => file.started);
    return new Set(
      started.flatMap((entry) => (entry.grant === grant && entry.undo !== null ? [entry.index] : [])),
    );
  }

  #orphans(): SessionFile[] {
    return this.#files().filter(({ owner }) => !isAlive(owner));
  }

  #files(): SessionFile[] {
    return readdirSync(this.#folder)
      .filter((name) => name.endsWith('.json'))
      .sort()
      .flatMap((name) => this.#read(join(this.#folder, name)) ?? []);
  }

  #read(path: string): SessionFile | undefined {
    try {
      return JSON.parse(readFileSync(path, 'utf8')) as SessionFile;
    } catch (error) {
      if (isCode(error, 'ENOENT')) return undefined;
      throw new GateError(
        'state-unavailable',
        `${path} cannot be read: look into it, and remove it when its commands are settled`,
        { cause: error },
      );
    }
  }

  #place(serial: string): string {
    return join(this.#folder, `${serial}.json`);
  }
}

function ownIdentity(): ProcessIdentity {
  const own = identifyProcess(process.pid);
  if (own === undefined)
    throw new GateError('state-unavailable', '/proc says nothing of this process: mount it');
  return own;
}
