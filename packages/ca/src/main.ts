/**
 * The subcommands that run on the CA's machine, alone with its files: `ca init|serve|check|service`, `policy check|test`,
 * `records verify --store`. Prints the product on standard output; errors are thrown, for the command line to print.
 */
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { createPolicyEngine, explain, parseCases, runPolicyCases } from '@beacon/policy';
import {
  describeDefaults,
  openDatabase,
  type RecordAnchor,
  type RecordTables,
  verifyRecords,
} from '@beacon/server';
import { backupCa, restoreCa } from './backup.ts';
import { checkCa } from './check.ts';
import { caConfiguration, chosen, readCaConfiguration, readCases, readServices } from './configuration.ts';
import { erasePerson } from './erase.ts';
import { CaError } from './error.ts';
import { initCa } from './init.ts';
import { CLIENT_ID_TO_SET } from './init-files.ts';
import { inPolicyFolder, readInventory, readPolicies, readStore } from './load.ts';
import { readableFailure } from './readable-failure.ts';
import { reloadSignal, serveCa, stopSignal } from './serve.ts';
import { makeServiceKey } from './service.ts';

const DEFAULT_FOLDER = '/etc/beacon-ca';
const DEFAULT_CONFIGURATION = `${DEFAULT_FOLDER}/ca.yaml`;

const help = `Usage: beacon ca init [--dir ${DEFAULT_FOLDER}] --public-url URL [--listen HOST:PORT] [--admin LOGIN]
                      [--client-id ID] [--github-web-url URL] [--github-api-url URL] [--provider WORD] [--json]
       beacon ca serve [--config ${DEFAULT_CONFIGURATION}]
       beacon ca check [--config FILE] [--json]
       beacon ca backup --out FILE [--config FILE] [--json]
       beacon ca restore --from FILE [--config FILE] [--anchor SEQ:HASH]… [--json]
       beacon ca service key ID [--out FILE] [--json]
       beacon ca service list|check [--config FILE | --services FILE] [--json]
       beacon policy check [--policy DIR] [--inventory FILE] [--json]
       beacon policy test CASES [--policy DIR] [--inventory FILE] [--json]
       beacon records erase --person PERSON (--config FILE | --store FILE) [--json]
       beacon records verify --store FILE | --config FILE [--anchor SEQ:HASH]… [--json]
`;

type Subcommand = (argv: readonly string[]) => Promise<number>;

const subcommands: Readonly<Record<string, Subcommand>> = {
  'ca init': init,
  'ca serve': serve,
  'ca check': check,
  'ca backup': backup,
  'ca restore': restore,
  'ca service key': serviceKey,
  'ca service list': serviceList,
  'ca service check': serviceList,
  'policy check': policyCheck,
  'policy test': policyTest,
  'records verify': recordsVerify,
  'records erase': recordsErase,
};

/** Runs one subcommand; resolves with its exit status. Throws CaError, whose `kind` says how bad it is. */
export async function main(argv: readonly string[]): Promise<number> {
  const words = Object.keys(subcommands).find((name) =>
    name.split(' ').every((word, index) => argv[index] === word),
  );
  const run = words === undefined ? undefined : subcommands[words];
  if (argv.includes('--help') || argv.includes('-h')) {
    print(`${help}\nSettings of ca.yaml:\n${settings()}`);
    return 0;
  }
  if (run === undefined || words === undefined) {
    throw usage(`there is no ${['beacon', ...argv].slice(0, 4).join(' ')}`, argv.slice(0, 2).join(' '));
  }
  try {
    return await run(argv.slice(words.split(' ').length));
  } catch (error) {
    if (error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS'))
      throw usage(error.message.replace(/ To specify a positional.*$/, ''), words);
    throw readableFailure(error);
  }
}

function settings(): string {
  return describeDefaults(caConfiguration)
    .map(({ key, required, default: value, description }) => {
      const standing = value === undefined ? (required ? 'required' : 'optional') : `default ${value}`;
      return `  ${key}: ${description} (${standing})\n`;
    })
    .join('');
}

async function init(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, 0, [
    'dir',
    'public-url',
    'listen',
    'admin',
    'client-id',
    'github-web-url',
    'github-api-url',
    'provider',
  ]);
  const publicUrl = values['public-url'];
  if (publicUrl === undefined)
    throw usage('--public-url is missing: how will people reach this CA?', 'ca init');
  requireChosen(values);
  const [, host = '', port = ''] = /^(.+):(\d+)$/.exec(values['listen'] ?? '127.0.0.1:8443') ?? [];
  const webUrl = values['github-web-url'] ?? 'https://github.com';
  const report = await initCa({
    folder: values['dir'] ?? DEFAULT_FOLDER,
    publicUrl,
    listenHost: host.replace(/^\[|\]$/g, ''),
    listenPort: Number(port),
    provider: values['provider'] ?? 'github',
    webUrl,
    apiUrl:
      values['github-api-url'] ??
      (webUrl === 'https://github.com' ? 'https://api.github.com' : `${webUrl}/api/v3`),
    clientId: values['client-id'] ?? CLIENT_ID_TO_SET,
    ...(values['admin'] === undefined ? {} : { administratorLogin: values['admin'] }),
  });
  if (values.json) return printJson(report);
  print(`Made a certificate authority in ${report.folder}:\n`);
  for (const file of report.files) print(`  ${file}\n`);
  print(
    `\nUser CA ${report.user_ca}\nHost CA ${report.host_ca}\nAdministrator: ${report.administrator ?? 'nobody yet, see policy/policy.cedar'}\n`,
  );
  print('\nYour GitHub App (Settings → Developer settings → GitHub Apps → New):\n');
  for (const [field, value] of Object.entries(report.github_app)) print(`  ${field}: ${value}\n`);
  print('\nNext:\n');
  for (const step of report.next) print(`  ${step}\n`);
  return 0;
}

/** Everything that stands in ca.yaml afterwards must be what a later start reads, and is refused by the option's name. */
function requireChosen(values: Partial<Record<string, string | boolean>>): void {
  for (const name of Object.keys(chosen.shape) as (keyof typeof chosen.shape)[]) {
    if (values[name] === undefined) continue;
    const result = chosen.shape[name].safeParse(values[name]);
    const [issue] = result.error?.issues ?? [];
    if (issue !== undefined) throw usage(`--${name}: ${issue.message}`, 'ca init');
  }
}

async function serve(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, 0, ['config']);
  await serveCa(values['config'] ?? DEFAULT_CONFIGURATION, stopSignal(), reloadSignal);
  return 0;
}

async function check(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, 0, ['config']);
  const results = await checkCa(values['config'] ?? DEFAULT_CONFIGURATION);
  const ok = results.every((result) => result.ok);
  if (values.json) printJson({ ok, checks: results });
  else
    for (const result of results)
      print(
        `${result.ok ? 'ok     ' : 'DEFECT '} ${result.check}: ${result.detail.replaceAll('\n', '\n        ')}\n`,
      );
  return ok ? 0 : 1;
}

async function serviceKey(argv: readonly string[]): Promise<number> {
  const { values, positionals } = read(argv, 1, ['out']);
  const [id] = positionals;
  if (id === undefined) throw usage('name the service', 'ca service key');
  const { entry, privateKeyFile } = await makeServiceKey(id, values['out'] ?? `${id}.jwk`);
  if (values.json) return printJson({ private_key_file: privateKeyFile, entry });
  process.stderr.write(
    `The private key is in ${privateKeyFile}: move it to the service, and to nowhere else.\nReview this entry and paste it under "services:" in services.yaml:\n`,
  );
  print(entry);
  return 0;
}

async function serviceList(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, 0, ['config', 'services']);
  const services = [
    ...readServices(values['services'] ?? beside(values['config'], 'services.yaml')).values(),
  ];
  if (values.json) return printJson({ services });
  for (const { id, name, may, source_addresses: from } of services) {
    print(`${id}\t${name}\tmay: ${may.join(', ') || 'nothing'}\tfrom: ${from.join(', ') || 'anywhere'}\n`);
  }
  return 0;
}

function policyEngine(values: { policy?: string; inventory?: string }) {
  const inventory = readInventory(values.inventory ?? beside(undefined, 'inventory.yaml'));
  const folder = values.policy ?? beside(undefined, 'policy');
  const files = readPolicies(folder);
  try {
    return { inventory, files, engine: createPolicyEngine({ files, inventory }) };
  } catch (error) {
    throw inPolicyFolder(folder, error);
  }
}

async function policyCheck(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, 0, ['policy', 'inventory']);
  const { engine, files } = policyEngine(values);
  const { policies, version, notes, namedTeams, namedOrganizations } = engine;
  if (values.json)
    return printJson({
      ok: true,
      version,
      policies,
      notes,
      teams: namedTeams,
      organizations: namedOrganizations,
    });
  for (const note of notes) process.stderr.write(`note: ${note}\n`);
  print(`ok: ${policies.length} policies in ${files.length} files, version ${version}\n`);
  return 0;
}

async function policyTest(argv: readonly string[]): Promise<number> {
  const { values, positionals } = read(argv, 1, ['policy', 'inventory']);
  const [file] = positionals;
  if (file === undefined) throw usage('name the file of cases', 'policy test');
  const { engine, inventory } = policyEngine(values);
  const results = runPolicyCases(engine, inventory, parseCases(readCases(file), file));
  const failed = results.filter((result) => !result.ok);
  if (values.json) {
    printJson({
      ok: failed.length === 0,
      cases: results.map(({ name, ok, difference }) => ({ name, ok, difference })),
    });
  } else {
    for (const result of results) {
      print(
        `${result.ok ? 'ok    ' : 'FAILED'} ${result.name}${result.difference === null ? '' : `: ${result.difference}`}\n`,
      );
      if (!result.ok) print(`${explain(result.decision).replace(/^/gm, '         ')}\n`);
    }
    print(`${results.length - failed.length} passed, ${failed.length} failed\n`);
  }
  return failed.length === 0 ? 0 : 1;
}

async function backup(argv: readonly string[]): Promise<number> {
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

async function restore(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      from: { type: 'string' },
      config: { type: 'string' },
      anchor: { type: 'string', multiple: true },
      json: { type: 'boolean' },
    },
  });
  if (values.from === undefined) throw usage('--from is missing: which backup?', 'ca restore');
  const configurationFile = values.config ?? DEFAULT_CONFIGURATION;
  const anchors = readAnchors(values.anchor, 'ca restore');
  const done = await restoreCa({ from: values.from, configurationFile, anchors }, () => new Date());
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

async function recordsVerify(argv: readonly string[]): Promise<number> {
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

async function recordsErase(argv: readonly string[]): Promise<number> {
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

type Values<Name extends string> = Partial<Record<Name, string>> & { json: boolean };

/** Options by name, and at most `most` words besides: one that is not understood is refused, not passed over. */
function read<Name extends string>(
  argv: readonly string[],
  most: number,
  names: readonly Name[],
): { values: Values<Name>; positionals: string[] } {
  const options = Object.fromEntries(names.map((name) => [name, { type: 'string' as const }]));
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: { ...options, json: { type: 'boolean' } },
    allowPositionals: true,
  });
  const extra = positionals[most];
  if (extra !== undefined)
    throw new CaError('request-malformed', `unexpected ${JSON.stringify(extra)}: see --help`);
  return {
    values: { ...(values as Partial<Record<Name, string>>), json: values['json'] === true },
    positionals,
  };
}

/** A file of the CA's folder: beside the named configuration, or in the folder of the default one, or here. */
function beside(configuration: string | undefined, name: string): string {
  return join(configuration === undefined ? DEFAULT_FOLDER : dirname(configuration), basename(name));
}

/** With the lines of the usage that are about these words; with all where there are none. */
function usage(text: string, words: string): CaError {
  const own = help
    .split(/^(?=(?:Usage:| {6}) beacon)/m)
    .filter((line) => line.slice(7).startsWith(`beacon ${words}`));
  const shown = own.length === 0 ? help : own.map((line) => `Usage: ${line.slice(7)}`).join('');
  return new CaError('request-malformed', `${text}\n${shown}(see --help)`);
}

function print(text: string): void {
  process.stdout.write(text);
}

function printJson(value: unknown): number {
  print(`${JSON.stringify(value)}\n`);
  return 0;
}
