/**
 * What `check` of every server's program does: one result a check, in order, each defect with its remedy, and a look into
 * the store that changes nothing. What is checked besides is the program's.
 */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Database, openDatabase } from './database.ts';
import { ServerError } from './error.ts';
import { type Migrations, migrationState } from './migration.ts';
import { verifyRecords } from './record-chain.ts';
import type { RecordTables } from './record-tables.ts';
import type { StoreSetting } from './server-configuration.ts';
import { inStore, nameOfStore, readStore } from './store-setting.ts';

export interface CheckResult {
  readonly check: string;
  readonly ok: boolean;
  /** It is no defect yet. */
  readonly warning?: true;
  readonly detail: string;
}

/** Does the work; its result, described, becomes one of the checks, and so does its failure. */
export type Attempt = <T>(
  check: string,
  work: () => T | Promise<T>,
  detail: (value: T) => string,
) => Promise<T | undefined>;

/** A list that `attempt` adds to. */
export function createChecks(): { readonly results: CheckResult[]; readonly attempt: Attempt } {
  const results: CheckResult[] = [];
  return {
    results,
    async attempt(check, work, detail) {
      try {
        const value = await work();
        results.push({ check, ok: true, detail: detail(value) });
        return value;
      } catch (error) {
        results.push({ check, ok: false, detail: error instanceof Error ? error.message : String(error) });
        return undefined;
      }
    },
  };
}

/** What there is to look at in a store whose records hold. */
export interface CheckedStore<Tables> {
  readonly database: Database<Tables>;
  readonly name: string;
  readonly records: number;
  /** Whether every table is there that this version needs. */
  readonly current: boolean;
}

/** What a look into a store found: what to say of it, and what is looked at further. */
export interface StoreFinding<Found> {
  readonly detail: string;
  readonly found?: Found;
}

/** What `look` answers, or why there is nothing to look at yet. Throws ServerError with what is wrong and what to do. */
export async function checkStore<Tables extends RecordTables, Found>(
  store: StoreSetting,
  { chain, migrations }: { readonly chain: string; readonly migrations: readonly Migrations[] },
  look: (checked: CheckedStore<Tables>) => StoreFinding<Found> | Promise<StoreFinding<Found>>,
): Promise<StoreFinding<Found>> {
  const name = nameOfStore(store);
  const place = readStore(store);
  if ('file' in place) {
    const { file } = place;
    requireWritable(dirname(file));
    if (!existsSync(file)) return { detail: `${file} is not there yet: serve will make it` };
    requireWritable(file);
    if ((statSync(file).mode & 0o077) !== 0)
      throw new ServerError('configuration', `${file} is open to others: run chmod 600 ${file}`);
  }
  const database = openDatabase<Tables>({ ...place, readOnly: true });
  try {
    const state = await migrationState(database, ...migrations);
    if (state === 'none') return { detail: `${name} is empty: serve will make its tables` };
    const verdict = await verifyRecords(database, { chain });
    if (!verdict.ok)
      throw new ServerError(
        'record',
        `${name}: record ${verdict.firstBad}: ${verdict.why}: compare with a backup`,
      );
    return await look({ database, name, records: verdict.count, current: state === 'all' });
  } catch (error) {
    throw inStore(store, error);
  } finally {
    await database.destroy();
  }
}

function requireWritable(path: string): void {
  if (!existsSync(path)) {
    throw new ServerError(
      'configuration',
      `the folder ${path} is not there: make it with mkdir -m 700 ${path}`,
    );
  }
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
  } catch (error) {
    throw new ServerError(
      'configuration',
      `${path} cannot be written: give it to whoever runs serve, and run this check as the same`,
      { cause: error },
    );
  }
}
