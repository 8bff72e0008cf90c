/**
 * What can happen only once (DESIGN.md section 5): a certificate opens one session, a command of a grant starts once.
 * Each is a file that is made with `O_EXCL` and is on the disk before anything is done, and it goes a day after the
 * grant's end, when the certificate could no longer be used anyway.
 */
import { readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { createOnce, makeFolder } from './durable-file.ts';

const KEPT_MS = 24 * 3_600_000;
const SWEEP_EVERY_MS = 3_600_000;
const MOST_REMOVED = 1_000;

export class Marks {
  readonly #folder: string;

  constructor(folder: string) {
    makeFolder(folder);
    this.#folder = folder;
  }

  /** False where this certificate has opened a session before. */
  markSerial(serial: bigint, until: Date): boolean {
    return this.#mark(`serial-${serial}`, until);
  }

  /** False where the command at this index of the grant was started before. */
  markStarted(grant: string, index: number, until: Date): boolean {
    return this.#mark(`started-${grant}-${index}`, until);
  }

  isStarted(grant: string, index: number): boolean {
    return statSync(join(this.#folder, `started-${grant}-${index}`), { throwIfNoEntry: false }) !== undefined;
  }

  /** Removes what is a day past its end, at most once an hour. A mark whose end cannot be read stays. */
  sweep(now: Date): void {
    const stamp = join(this.#folder, 'swept');
    const last = statSync(stamp, { throwIfNoEntry: false })?.mtime.getTime() ?? 0;
    if (now.getTime() - last < SWEEP_EVERY_MS) return;
    const old = readdirSync(this.#folder)
      .map((name) => join(this.#folder, name))
      // The end is kept as the file's own time, so that no file has to be read.
      .filter((path) => path !== stamp && statSync(path).mtime.getTime() < now.getTime() - KEPT_MS);
    for (const path of old.slice(0, MOST_REMOVED)) rmSync(path, { force: true });
    createOnce(stamp, '');
    utimesSync(stamp, now, now);
  }

  #mark(name: string, until: Date): boolean {
    const path = join(this.#folder, name);
    if (!createOnce(path, '')) return false;
    utimesSync(path, until, until);
    return true;
  }
}
