/**
 * `beacon ca backup` and `beacon ca restore`. A backup is one file: the store of one moment, copied while the CA serves,
 * and beside it in two tables of its own the configuration, inventory, services and policy. Keys, their passphrase and the
 * GitHub App's secret are not in it: who finds a backup can forge nothing; they are backed up apart.
 *
 * What was issued and taken back after the backup is lost to a restored store. So serials and the version of the
 * revocation list jump ahead by more than could have been used, every session ends, and the chain says what was done.
 */
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { FIRST_PREVIOUS } from '@beacon/protocol/record';
import {
  copyStore,
  createRecords,
  type Database,
  migrate,
  openDatabase,
  type RecordAnchor,
  verifyRecords,
} from '@beacon/server';
import type { Tables, Tx } from './ca.ts';
import { type CaConfiguration, readCaConfiguration } from './configuration.ts';
import { migrations } from './create-ca.ts';
import { CaError } from './error.ts';
import { readPolicies } from './load.ts';
import { readCounter, setCounter } from './store.ts';

interface BackupTables {
  readonly backup: { readonly version: number; readonly made_at: number };
  /** `position` 0 is the configuration itself; `name`: the path from the configuration's folder, or a whole one. */
  readonly backup_files: { readonly position: number; readonly name: string; readonly content: string };
}

type BackedUp = Database<Tables & BackupTables>;

const VERSION = 1;
/** How far serials and the revocation list's version jump: 24 days of 2,000 certificates a second without a backup. */
export const RESTORE_MARGIN = 2n ** 32n;

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
  const source = fileOf(configuration);
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
      head = await requireWhole(store, []);
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
  await tx.insertInto('backup').values({ version: VERSION, made_at: at.getTime() }).execute();
  for (const [position, [name, content]] of [...files].entries())
    await tx.insertInto('backup_files').values({ position, name, content }).execute();
}

function filesOf(file: string, configuration: CaConfiguration): ReadonlyMap<string, string> {
  const folder = dirname(resolve(file));
  const policies = readPolicies(configuration.policy).map(({ name, text }): [string, string] => [
    join(configuration.policy, name),
    text,
  ]);
  const whole = [resolve(file), configuration.inventory, configuration.services].map(
    (path): [string, string] => [path, readFileSync(path, 'utf8')],
  );
  return new Map([...whole, ...policies].map(([path, text]) => [nameOf(folder, path), text]));
}

function nameOf(folder: string, path: string): string {
  const name = relative(folder, path);
  return name.startsWith('..') || isAbsolute(name) ? path : name;
}

export interface RestoreReport {
  readonly store: string;
  readonly written: readonly string[];
  /** Files that were there already, and stay. */
  readonly kept: readonly string[];
  /** The head of the backup. */
  readonly head: RecordAnchor;
  readonly serial: { readonly from: string; readonly to: string };
  readonly record: RecordAnchor;
}

export interface RestoreRequest {
  readonly from: string;
  /** Where ca.yaml is, or will be written. */
  readonly configurationFile: string;
  /** Places of the chain that others hold; the newest tells how much is lost. */
  readonly anchors: readonly RecordAnchor[];
}

/** Throws CaError `store`, `init-refused` or `row-unverified`, or ServerError; an existing file is never written over. */
export async function restoreCa(request: RestoreRequest, now: () => Date): Promise<RestoreReport> {
  const { files, madeAt, head } = await readBackup(request);
  const folder = dirname(resolve(request.configurationFile));
  const ownName = [...files.keys()][0] ?? '';
  const placed = new Map(
    [...files].map(([name, text]) => [
      name === ownName ? resolve(request.configurationFile) : resolve(folder, name),
      text,
    ]),
  );
  const kept = [...placed.keys()].filter((path) => existsSync(path));
  const written = [...placed.keys()].filter((path) => !kept.includes(path));
  for (const path of written) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    writeFileSync(path, placed.get(path) ?? '', { mode: 0o644, flag: 'wx' });
  }
  const place = fileOf(readCaConfiguration(request.configurationFile));
  for (const file of [place, `${place}-wal`]) refuseThere(file);
  mkdirSync(dirname(place), { recursive: true, mode: 0o700 });
  const draft = mkdtempSync(`${place}.new-`);
  try {
    const copy = join(draft, 'ca.db');
    copyFileSync(request.from, copy);
    const { serial, record } = await renew(copy, { madeAt, head, anchors: request.anchors }, now);
    refuseThere(place);
    renameSync(copy, place);
    return { store: place, written, kept, head, serial, record };
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

async function readBackup({ from, anchors }: RestoreRequest) {
  if (!existsSync(from))
    throw new CaError('store', `there is no ${from}: name a file of \`beacon ca backup\``);
  const store = openDatabase<Tables & BackupTables>({ file: from, readOnly: true });
  try {
    const about = await store
      .selectFrom('backup')
      .selectAll()
      .executeTakeFirst()
      .catch(() => undefined);
    if (about === undefined)
      throw new CaError('store', `${from} is no backup: make one with \`beacon ca backup\`, not by copying`);
    if (about.version !== VERSION)
      throw new CaError('store', `${from} has the form ${about.version}, which this program does not know`);
    const rows = await store.selectFrom('backup_files').selectAll().orderBy('position').execute();
    const head = await requireWhole(store, anchors);
    return { files: new Map(rows.map(({ name, content }) => [name, content])), madeAt: about.made_at, head };
  } finally {
    await store.destroy();
  }
}

/** The chain's head; anchors behind it are no fault of a backup. Throws CaError `row-unverified`. */
async function requireWhole(store: BackedUp, anchors: readonly RecordAnchor[]): Promise<RecordAnchor> {
  const last = await createRecords({ chain: 'ca', now: () => new Date() }).head(store);
  const head = { seq: last?.seq ?? 0, hash: last?.hash ?? FIRST_PREVIOUS };
  const verdict = await verifyRecords(store, {
    chain: 'ca',
    anchors: anchors.filter(({ seq }) => seq <= head.seq),
  });
  if (verdict.ok) return head;
  throw new CaError('row-unverified', `record ${verdict.firstBad}: ${verdict.why}: take another backup`);
}

/** Makes a copy fit to go on: in one transaction, on disk before it takes its place. */
async function renew(
  file: string,
  { madeAt, head, anchors }: { madeAt: number; head: RecordAnchor; anchors: readonly RecordAnchor[] },
  now: () => Date,
) {
  const store = openDatabase<Tables & BackupTables>({ file });
  try {
    await store.schema.dropTable('backup').execute();
    await store.schema.dropTable('backup_files').execute();
    const own = store as unknown as Database<Tables>;
    await migrate(own, ...migrations);
    const records = createRecords({ chain: 'ca', now });
    return await own.transaction().execute(async (tx) => {
      const serial = await jump(tx, 'serial');
      const krl = await jump(tx, 'krl');
      const sessions = await endSessions(tx, now());
      const newest = anchors.toSorted((a, b) => b.seq - a.seq)[0];
      const { seq, hash } = await records.append(tx, {
        kind: 'restored',
        facts: {
          backup_made: new Date(madeAt).toISOString(),
          backup_head: `${head.seq}:${head.hash}`,
          ...(newest === undefined ? {} : { newest_anchor: `${newest.seq}:${newest.hash}` }),
          serial_from: serial.from,
          serial_to: serial.to,
          krl_from: krl.from,
          krl_to: krl.to,
          sessions_ended: sessions,
        },
      });
      return { serial, record: { seq, hash } };
    });
  } finally {
    await store.destroy();
  }
}

async function jump(tx: Tx, counter: 'serial' | 'krl'): Promise<{ from: string; to: string }> {
  const from = await readCounter(tx, counter);
  const to = from + RESTORE_MARGIN;
  await setCounter(tx, counter, to);
  return { from: from.toString(), to: to.toString() };
}

/** A session that ended after the backup must not live again, nor a sign-in or a token be used a second time. */
async function endSessions(tx: Tx, at: Date): Promise<number> {
  const { numUpdatedRows } = await tx
    .updateTable('sessions')
    .set({ ended_at: at.getTime(), ended_by: 'restore' })
    .where('ended_at', 'is', null)
    .executeTakeFirst();
  await tx.deleteFrom('oauth_artifacts').execute();
  await tx.deleteFrom('sign_ins').execute();
  return Number(numUpdatedRows);
}

/** The store's file. Throws CaError `store` for PostgreSQL, which has programs of its own for this. */
function fileOf({ store }: CaConfiguration): string {
  if (typeof store === 'string') return store;
  if ('sqlite' in store) return store.sqlite;
  throw new CaError(
    'store',
    'the store is a PostgreSQL database: back it up and restore it with pg_dump and pg_restore, see docs/operate.md',
  );
}

function refuseThere(file: string): void {
  if (existsSync(file))
    throw new CaError(
      'init-refused',
      `${file} is there: nothing is written over; move it away, or name another`,
    );
}
