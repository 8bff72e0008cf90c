/**
 * `beacon ca restore`: a backup put where no store is, or a store that something else put back (pg_restore, a snapshot of
 * the disk) made fit to go on. What was issued and taken back after the backup is lost to it. So serials and the version
 * of the revocation list jump ahead by more than could have been used, every session ends, and the chain says what was
 * done.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import {
  createRecords,
  type Database,
  migrate,
  openDatabase,
  type RecordAnchor,
  readStore,
  syncFolder,
} from '@beacon/server';
import { BACKUP_VERSION, type BackupTables, refuseThere, requireWhole, storeFile } from './backup.ts';
import type { Tables, Tx } from './ca.ts';
import { RESTORED_COUNTER } from './ca-key.ts';
import { readCaConfiguration } from './configuration.ts';
import { migrations } from './create-ca.ts';
import { CaError } from './error.ts';
import { readCounter, setCounter } from './store.ts';
import { STATUS_COUNTER } from './trust-status.ts';

/** How far serials and the versions of revocation list and trust status jump: 24 days of 2,000 certificates a second without a backup. */
export const RESTORE_MARGIN = 2n ** 32n;

/** How a store was made fit to go on. */
export interface Renewal {
  /** The head of what was put back. */
  readonly head: RecordAnchor;
  readonly serial: { readonly from: string; readonly to: string };
  readonly record: RecordAnchor;
}

export interface RestoreReport extends Renewal {
  /** The file, or "the database". */
  readonly store: string;
  readonly written: readonly string[];
  /** Files that were there already, and stay. */
  readonly kept: readonly string[];
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
  for (const path of written) refuseOutside(folder, path);
  for (const path of written) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    writeFileSync(path, placed.get(path) ?? '', { mode: 0o644, flag: 'wx' });
  }
  const place = storeFile(readCaConfiguration(request.configurationFile));
  for (const file of [place, `${place}-wal`]) refuseThere(file);
  mkdirSync(dirname(place), { recursive: true, mode: 0o700 });
  const draft = mkdtempSync(`${place}.new-`);
  try {
    const copy = join(draft, 'ca.db');
    copyFileSync(request.from, copy);
    // A backup may have become readable by others on its way; a store never is.
    chmodSync(copy, 0o600);
    const store = openDatabase<Tables & BackupTables>({ file: copy });
    let renewal: Renewal;
    try {
      await store.schema.dropTable('backup').execute();
      await store.schema.dropTable('backup_files').execute();
      const own = store as unknown as Database<Tables>;
      await migrate(own, ...migrations);
      renewal = await renew(own, head, request.anchors, now, { backup_made: madeAt.toISOString() });
    } finally {
      await store.destroy();
    }
    refuseThere(place);
    renameSync(copy, place);
    syncFolder(dirname(place));
    return { store: place, written, kept, ...renewal };
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

/**
 * Makes the store that the configuration names fit to go on after something else has put it back to an older state. No
 * CA may serve from it meanwhile; a SQLite file that a CA has open is refused. Throws as `restoreCa` does.
 */
export async function restoreInPlace(
  { configurationFile, anchors }: Omit<RestoreRequest, 'from'>,
  now: () => Date,
): Promise<RestoreReport> {
  const place = readStore(readCaConfiguration(configurationFile).store);
  if ('file' in place && !existsSync(place.file))
    throw new CaError('store', `there is no ${place.file}: put it back first, or restore with --from`);
  const store = openDatabase<Tables>(place);
  try {
    await migrate(store, ...migrations);
    const head = await requireWhole(store, anchors);
    if (head.seq === 0)
      throw new CaError('store', 'the store has no records: put the old one back first, then run this again');
    const renewal = await renew(store, head, anchors, now, {});
    return { store: 'file' in place ? place.file : 'the database', written: [], kept: [], ...renewal };
  } finally {
    await store.destroy();
  }
}

/** A backup that somebody else has written could name any file of this machine, and this runs as root. */
function refuseOutside(folder: string, path: string): void {
  if (path.startsWith(`${folder}/`)) return;
  throw new CaError(
    'init-refused',
    `the backup holds ${path}, which is outside ${folder} and not there: look at it in the backup, put it there yourself, and run this again`,
  );
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
    if (about.version !== BACKUP_VERSION)
      throw new CaError('store', `${from} has the form ${about.version}, which this program does not know`);
    const rows = await store.selectFrom('backup_files').selectAll().orderBy('position').execute();
    const head = await requireWhole(store as unknown as Database<Tables>, anchors);
    return {
      files: new Map(rows.map(({ name, content }) => [name, content])),
      madeAt: new Date(about.made_at),
      head,
    };
  } finally {
    await store.destroy();
  }
}

/** The jumps, the ends of sessions and the record of them, in one transaction. */
async function renew(
  store: Database<Tables>,
  head: RecordAnchor,
  anchors: readonly RecordAnchor[],
  now: () => Date,
  facts: Readonly<Record<string, string>>,
): Promise<Renewal> {
  const records = createRecords({ chain: 'ca', now });
  return store.transaction().execute(async (tx) => {
    const serial = await jump(tx, 'serial');
    const krl = await jump(tx, 'krl');
    const status = await jump(tx, STATUS_COUNTER);
    const sessions = await endSessions(tx, now());
    const newest = anchors.toSorted((a, b) => b.seq - a.seq)[0];
    const { seq, hash } = await records.append(tx, {
      kind: 'restored',
      facts: {
        ...facts,
        backup_head: `${head.seq}:${head.hash}`,
        ...(newest === undefined ? {} : { newest_anchor: `${newest.seq}:${newest.hash}` }),
        serial_from: serial.from,
        serial_to: serial.to,
        krl_from: krl.from,
        krl_to: krl.to,
        trust_status_to: status.to,
        sessions_ended: sessions,
      },
    });
    await setCounter(tx, RESTORED_COUNTER, BigInt(seq));
    return { head, serial, record: { seq, hash } };
  });
}

async function jump(
  tx: Tx,
  counter: 'serial' | 'krl' | typeof STATUS_COUNTER,
): Promise<{ from: string; to: string }> {
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
