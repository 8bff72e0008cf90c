/**
 * `beacon ca backup`. A backup is one file: the store of one moment, copied while the CA serves, and in two tables of its
 * own the configuration, inventory, services, policy, and the public keys that the configuration names. Private keys, their
 * passphrase and the GitHub App's secret are not in it: who finds a backup can forge nothing; they are backed up apart.
 */
import { existsSync, linkSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { FIRST_PREVIOUS } from '@beacon/protocol/record';
import {
  copyStore,
  createRecords,
  type Database,
  openDatabase,
  type RecordAnchor,
  verifyRecords,
} from '@beacon/server';
import type { Tables } from './ca.ts';
import { type CaConfiguration, readCaConfiguration } from './configuration.ts';
import { CaError } from './error.ts';
import { readPolicies } from './load.ts';

export interface BackupTables {
  readonly backup: { readonly version: number; readonly made_at: number };
  /** `position` 0 is the configuration itself; `name`: the path from the configuration's folder, or a whole one. */
  readonly backup_files: { readonly position: number; readonly name: string; readonly content: string };
}

type BackedUp = Database<Tables & BackupTables>;

/** The form of the two tables. */
export const BACKUP_VERSION = 1;

export interface BackupReport {
  readonly file: string;
  /** Where the chain stood: an anchor to keep apart from the backup. */
  readonly head: RecordAnchor;
  readonly files: readonly string[];
}

/** Throws CaError `store` or `init-refused`, or ServerError; leaves nothing behind when it fails. */
export async function backupCa(
  configurationFile: string,
  out: string,
  now: () => Date,
): Promise<BackupReport> {
  const configuration = readCaConfiguration(configurationFile);
  const source = storeFile(configuration);
  if (!existsSync(source)) throw new CaError('store', `there is no ${source} yet: nothing to back up`);
  refuseThere(out);
  const files = filesOf(configurationFile, configuration);
  const draft = mkdtempSync(`${resolve(out)}.new-`);
  try {
    const copy = join(draft, 'ca.db');
    copyStore(source, copy);
    const store = openDatabase<Tables & BackupTables>({ file: copy });
    let head: RecordAnchor;
    try {
      head = await requireWhole(store as unknown as Database<Tables>, []);
      await store.transaction().execute((tx) => addFiles(tx, files, now()));
    } finally {
      await store.destroy();
    }
    // Once more, so that it is one file that can be read where nothing can be written, without a log beside it.
    const closed = join(draft, 'backup');
    copyStore(copy, closed);
    // Unlike a rename, it never takes the place of what is there.
    linkSync(closed, resolve(out));
    return { file: out, head, files: [...files.keys()] };
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

async function addFiles(
  tx: Parameters<Parameters<ReturnType<BackedUp['transaction']>['execute']>[0]>[0],
  files: ReadonlyMap<string, string>,
  at: Date,
): Promise<void> {
  await tx.schema
    .createTable('backup')
    .addColumn('version', 'integer')
    .addColumn('made_at', 'bigint')
    .execute();
  await tx.schema
    .createTable('backup_files')
    .addColumn('position', 'integer', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('content', 'text', (column) => column.notNull())
    .execute();
  await tx.insertInto('backup').values({ version: BACKUP_VERSION, made_at: at.getTime() }).execute();
  for (const [position, [name, content]] of [...files].entries())
    await tx.insertInto('backup_files').values({ position, name, content }).execute();
}

function filesOf(file: string, configuration: CaConfiguration): ReadonlyMap<string, string> {
  const folder = dirname(resolve(file));
  const policies = readPolicies(configuration.policy).map(({ name, text }): [string, string] => [
    join(configuration.policy, name),
    text,
  ]);
  const named = [
    resolve(file),
    configuration.inventory,
    configuration.services,
    ...publicHalves(configuration.keys),
  ];
  const whole = named.map((path): [string, string] => [path, readFileSync(path, 'utf8')]);
  return new Map([...whole, ...policies].map(([path, text]) => [nameOf(folder, path), text]));
}

/** The files of keys that are no secrets: without them a restored CA would not start. */
function publicHalves(keys: CaConfiguration['keys']): string[] {
  const certifying = [keys.user_ca, keys.host_ca, keys.user_ca_next, keys.host_ca_next, keys.trust_status];
  const inAgent = certifying.flatMap((key) => (key !== undefined && 'agent' in key ? [key.agent] : []));
  const others = [keys.trust_root, keys.token_next, ...keys.token_former.map(({ file }) => file)];
  return [...new Set([...inAgent, ...others.filter((path) => path !== undefined)])];
}

function nameOf(folder: string, path: string): string {
  const name = relative(folder, path);
  return name.startsWith('..') || isAbsolute(name) ? path : name;
}

/** The chain's head; anchors behind it are no fault of a backup. Throws CaError `row-unverified`. */
export async function requireWhole(
  store: Database<Tables>,
  anchors: readonly RecordAnchor[],
): Promise<RecordAnchor> {
  const last = await createRecords({ chain: 'ca', now: () => new Date() }).head(store);
  const head = { seq: last?.seq ?? 0, hash: last?.hash ?? FIRST_PREVIOUS };
  const verdict = await verifyRecords(store, {
    chain: 'ca',
    anchors: anchors.filter(({ seq }) => seq <= head.seq),
  });
  if (verdict.ok) return head;
  throw new CaError('row-unverified', `record ${verdict.firstBad}: ${verdict.why}: take another backup`);
}

/** The store's file. Throws CaError `store` for PostgreSQL, which has programs of its own for this. */
export function storeFile({ store }: CaConfiguration): string {
  if (typeof store === 'string') return store;
  if ('sqlite' in store) return store.sqlite;
  throw new CaError(
    'store',
    'the store is a PostgreSQL database: back it up with pg_dump, restore it with pg_restore, and then run `beacon ca restore --in-place`; see docs/postgres.md',
  );
}

/** Throws CaError `init-refused` when the file is there. */
export function refuseThere(file: string): void {
  if (existsSync(file))
    throw new CaError(
      'init-refused',
      `${file} is there: nothing is written over; move it away, or name another`,
    );
}
