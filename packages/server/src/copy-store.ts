/**
 * A consistent copy of a SQLite store while its owner is at work: all of one moment, in one reading transaction, and without
 * the bytes of what was deleted. PostgreSQL brings a program of its own for this.
 */
import { closeSync, constants, fsyncSync, openSync } from 'node:fs';
import Sqlite from 'better-sqlite3';
import { storageFailure } from './database.ts';

const WAIT_MS = 10_000;

/** Writes `file` as it is now to `copy`, which must not be there, mode 0600, on disk when this returns. Throws ServerError `storage`. */
export function copyStore(file: string, copy: string): void {
  try {
    closeSync(openSync(copy, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600));
    const connection = new Sqlite(file, { readonly: true, fileMustExist: true, timeout: WAIT_MS });
    try {
      connection.prepare('VACUUM INTO ?').run(copy);
    } finally {
      connection.close();
    }
    const written = openSync(copy, 'r');
    fsyncSync(written);
    closeSync(written);
  } catch (error) {
    throw storageFailure(error) ?? error;
  }
}
