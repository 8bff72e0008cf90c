/**
 * Takes what was deleted out of a SQLite file for good: a deleted row's bytes stay in free pages and in the write-ahead log
 * until something is written over them. The file is rewritten whole. Copies made before are not its business.
 */
import { existsSync } from 'node:fs';
import Sqlite from 'better-sqlite3';
import { storageFailure } from './database.ts';

const WAIT_MS = 10_000;

/** Rewrites the file, which nobody else may have open. Throws ServerError `storage`. */
export function scrubDeleted(file: string): void {
  if (!existsSync(file)) return;
  try {
    const connection = new Sqlite(file, { fileMustExist: true, timeout: WAIT_MS });
    try {
      connection.exec('VACUUM');
      connection.pragma('wal_checkpoint(TRUNCATE)');
    } finally {
      connection.close();
    }
  } catch (error) {
    throw storageFailure(error) ?? error;
  }
}
