/**
 * What live gates hold while they live: one of the sixteen places of a host, and a value that may be in work only once.
 * A file names the process that holds it; a file of a process that is gone counts for nothing.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createOnce, makeFolder } from './durable-file.ts';
import { GateError } from './error.ts';
import { withLock } from './lock.ts';
import { identifyProcess, isAlive, type ProcessIdentity } from './process-identity.ts';

/** How many gates a host runs at once. */
export const MOST_GATES = 16;

export class Held {
  readonly #folder: string;
  readonly #lock: string;

  constructor(folder: string, lock: string) {
    makeFolder(folder);
    this.#folder = folder;
    this.#lock = lock;
  }

  /** Takes a gate's place for this process. Throws GateError `too-many-gates`. */
  takePlace(): () => void {
    const name = `gate-${process.pid}`;
    withLock(this.#lock, () => {
      const others = readdirSync(this.#folder).filter(
        (other) => other.startsWith('gate-') && this.#isHeld(other),
      );
      if (others.length >= MOST_GATES) {
        throw new GateError('too-many-gates', `${MOST_GATES} gates are open on this host: try again later`);
      }
      this.#take(name);
    });
    return () => rmSync(join(this.#folder, name), { force: true });
  }

  /** Takes a unit's name for this process. Throws GateError `busy`. */
  takeUnit(unit: string): () => void {
    const name = `work-${unit}`;
    withLock(this.#lock, () => {
      if (this.#isHeld(name)) {
        throw new GateError('busy', `${unit} is in work already: wait until it has ended`);
      }
      this.#take(name);
    });
    return () => rmSync(join(this.#folder, name), { force: true });
  }

  #take(name: string): void {
    const path = join(this.#folder, name);
    rmSync(path, { force: true });
    createOnce(path, JSON.stringify(identifyProcess(process.pid)));
  }

  #isHeld(name: string): boolean {
    try {
      return isAlive(JSON.parse(readFileSync(join(this.#folder, name), 'utf8')) as ProcessIdentity);
    } catch {
      return false;
    }
  }
}
