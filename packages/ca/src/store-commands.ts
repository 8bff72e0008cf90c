/** `ca backup|restore` and `records verify|erase`: commands on the store's file or database, without the CA. */
import { parseArgs } from 'node:util';
import {
  openDatabase,
  print,
  printJson,
  type RecordAnchor,
  type RecordTables,
  readStore,
  verifyRecords,
} from '@beacon/server';
import { DEFAULT_CONFIGURATION, read, usage } from './arguments.ts';
import { backupCa } from './backup.ts';
import { readCaConfiguration } from './configuration.ts';
import { erasePerson } from './erase.ts';
import { restoreCa, restoreInPlace } from './restore.ts';

export async function backup(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, 0, ['config', 'out']);
  if (values.out === undefined) throw usage('--out is missing: where shall the backup go?', 'ca backup');
  const made = await backupCa(values.config ?? DEFAULT_CONFIGURATION, values.out, () => new Date());
  if (values.json) return printJson(made);
  print(`Wrote ${made.file}: the store, and\n`);
  for (const file of made.files) print(`  ${file}\n`);
  print(`Its anchor, to be kept apart from it: ${made.head.seq}:${made.head.hash}\n`);
  print(
    'Not in it: keys, their passphrase, the GitHub secret, TLS. Without them a restored CA is another CA.\n',
  );
  return 0;
}

export async function restore(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      from: { type: 'string' },
      'in-place': { type: 'boolean' },
      config: { type: 'string' },
      anchor: { type: 'string', multiple: true },
      json: { type: 'boolean' },
    },
  });
  const { from } = values;
  if ((from === undefined) === (values['in-place'] !== true))
    throw usage(
      'name the backup by --from FILE, or say by --in-place that the store has been put back already',
      'ca restore',
    );
  const configurationFile = values.config ?? DEFAULT_CONFIGURATION;
  const request = { configurationFile, anchors: readAnchors(values.anchor, 'ca restore') };
  const now = () => new Date();
  const done =
    from === undefined ? await restoreInPlace(request, now) : await restoreCa({ ...request, from }, now);
  if (values.json === true) return printJson(done);
  print(`Restored ${done.store} as it was at record ${done.head.seq}.\n`);
  for (const file of done.written) print(`  wrote ${file}\n`);
  for (const file of done.kept) print(`  kept ${file}, which was there\n`);
  print(
    `Serials go on after ${done.serial.to}; all sessions have ended; record ${done.record.seq} says so.\n`,
  );
  print(
    `Next: put keys in place, beacon ca check --config ${configurationFile}, and read docs/operate.md, "Restore".\n`,
  );
  return 0;
}

function readAnchors(texts: readonly string[] | undefined, command: string): RecordAnchor[] {
  return (texts ?? []).map((text) => {
    const [, seq, hash] = /^(\d+):([0-9a-f]{64})$/.exec(text) ?? [];
    if (seq === undefined || hash === undefined)
      throw usage('--anchor is SEQ:HASH, from a receipt, a backup or a checkpoint', command);
    return { seq: Number(seq), hash };
  });
}

export async function recordsVerify(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      store: { type: 'string' },
      config: { type: 'string' },
      anchor: { type: 'string', multiple: true },
      json: { type: 'boolean' },
    },
  });
  if ((values.store === undefined) === (values.config === undefined))
    throw usage(
      'name the store by --store FILE, or the configuration that names it by --config FILE',
      'records verify',
    );
  const anchors = readAnchors(values.anchor, 'records verify');
  const place =
    values.store === undefined
      ? readStore(readCaConfiguration(values.config ?? DEFAULT_CONFIGURATION).store)
      : { file: values.store };
  const store = openDatabase<RecordTables>({ ...place, readOnly: true });
  try {
    const verdict = await verifyRecords(store, { chain: 'ca', anchors });
    if (values.json === true) printJson(verdict);
    else if (verdict.ok) print(`ok: ${verdict.count} records, head ${verdict.head?.hash ?? 'none'}\n`);
    else print(`BAD: record ${verdict.firstBad}: ${verdict.why} (${verdict.bad} bad in all)\n`);
    return verdict.ok ? 0 : 1;
  } finally {
    await store.destroy();
  }
}

export async function recordsErase(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, 0, ['person', 'store', 'config']);
  if (values.person === undefined)
    throw usage('--person is missing: whose names and addresses go?', 'records erase');
  if (values.store !== undefined && values.config !== undefined)
    throw usage('--store and --config both name a store: give one', 'records erase');
  const place =
    values.store === undefined
      ? readStore(readCaConfiguration(values.config ?? DEFAULT_CONFIGURATION).store)
      : { file: values.store };
  const erasure = await erasePerson(place, values.person, () => new Date());
  if (values.json) return printJson(erasure);
  print(
    `Erased ${erasure.values} names and addresses of ${erasure.person}, and the name in ${erasure.sessions} sessions; record ${erasure.record.seq}.\nBackups made before still hold them.\n`,
  );
  return 0;
}
