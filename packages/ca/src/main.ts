/**
 * The subcommands that run on the CA's machine, alone with its files: `ca init|serve|check|service`, `policy check|test`,
 * `records verify --store`. Prints the product on standard output; errors are thrown, for the command line to print.
 */
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { GitHubError } from '@beacon/github';
import { createPolicyEngine, explain, PolicyError, parseCases, runPolicyCases } from '@beacon/policy';
import {
  describeDefaults,
  openDatabase,
  type RecordTables,
  ServerError,
  verifyRecords,
} from '@beacon/server';
import { checkCa } from './check.ts';
import { caConfiguration, readCases, readServices } from './configuration.ts';
import { CaError } from './error.ts';
import { initCa } from './init.ts';
import { CLIENT_ID_TO_SET } from './init-files.ts';
import { readInventory, readPolicies } from './load.ts';
import { serveCa, stopSignal } from './serve.ts';
import { makeServiceKey } from './service.ts';

const DEFAULT_FOLDER = '/etc/beacon-ca';
const DEFAULT_CONFIGURATION = `${DEFAULT_FOLDER}/ca.yaml`;

const help = `Usage: beacon ca init [--dir ${DEFAULT_FOLDER}] --public-url URL [--listen HOST:PORT] [--admin LOGIN]
                      [--client-id ID] [--github-web-url URL] [--github-api-url URL] [--provider WORD] [--json]
       beacon ca serve [--config ${DEFAULT_CONFIGURATION}]
       beacon ca check [--config FILE] [--json]
       beacon ca service key ID [--out FILE] [--json]
       beacon ca service list|check [--config FILE | --services FILE] [--json]
       beacon policy check [--policy DIR] [--inventory FILE] [--json]
       beacon policy test CASES [--policy DIR] [--inventory FILE] [--json]
       beacon records verify --store FILE [--anchor SEQ:HASH]… [--json]
`;

type Subcommand = (argv: readonly string[]) => Promise<number>;

const subcommands: Readonly<Record<string, Subcommand>> = {
  'ca init': init,
  'ca serve': serve,
  'ca check': check,
  'ca service key': serviceKey,
  'ca service list': serviceList,
  'ca service check': serviceList,
  'policy check': policyCheck,
  'policy test': policyTest,
  'records verify': recordsVerify,
};

/** Runs one subcommand; resolves with its exit status. Throws CaError, whose `kind` says how bad it is. */
export async function main(argv: readonly string[]): Promise<number> {
  const words = Object.keys(subcommands).find((name) =>
    name.split(' ').every((word, index) => argv[index] === word),
  );
  const run = words === undefined ? undefined : subcommands[words];
  if (run === undefined || words === undefined || argv.includes('--help')) {
    print(`${help}\nSettings of ca.yaml:\n${settings()}`);
    return run === undefined && !argv.includes('--help') && argv.length > 1 ? 64 : 0;
  }
  try {
    return await run(argv.slice(words.split(' ').length));
  } catch (error) {
    throw readable(error);
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
  const { values } = read(argv, [
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
  if (publicUrl === undefined) throw usage('--public-url is missing: how will people reach this CA?');
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(values['listen'] ?? '127.0.0.1:8443') ?? [];
  if (host === undefined || port === undefined) throw usage('--listen must be HOST:PORT');
  const webUrl = values['github-web-url'] ?? 'https://github.com';
  const report = await initCa({
    folder: values['dir'] ?? DEFAULT_FOLDER,
    publicUrl,
    listenHost: host,
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

async function serve(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, ['config']);
  await serveCa(values['config'] ?? DEFAULT_CONFIGURATION, stopSignal());
  return 0;
}

async function check(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, ['config']);
  const results = await checkCa(values['config'] ?? DEFAULT_CONFIGURATION);
  const ok = results.every((result) => result.ok);
  if (values.json) printJson({ ok, checks: results });
  else
    for (const result of results)
      print(`${result.ok ? 'ok     ' : 'DEFECT '} ${result.check}: ${result.detail}\n`);
  return ok ? 0 : 1;
}

async function serviceKey(argv: readonly string[]): Promise<number> {
  const { values, positionals } = read(argv, ['out']);
  const [id] = positionals;
  if (id === undefined) throw usage('name the service: beacon ca service key ID');
  const { entry, privateKeyFile } = await makeServiceKey(id, values['out'] ?? `${id}.jwk`);
  if (values.json) return printJson({ private_key_file: privateKeyFile, entry });
  process.stderr.write(
    `The private key is in ${privateKeyFile}: move it to the service, and to nowhere else.\nReview this entry and paste it under "services:" in services.yaml:\n`,
  );
  print(entry);
  return 0;
}

async function serviceList(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, ['config', 'services']);
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
  const files = readPolicies(values.policy ?? beside(undefined, 'policy'));
  return { inventory, files, engine: createPolicyEngine({ files, inventory }) };
}

async function policyCheck(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, ['policy', 'inventory']);
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
  const { values, positionals } = read(argv, ['policy', 'inventory']);
  const [file] = positionals;
  if (file === undefined) throw usage('name the file of cases: beacon policy test CASES');
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

async function recordsVerify(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      store: { type: 'string' },
      anchor: { type: 'string', multiple: true },
      json: { type: 'boolean' },
    },
  });
  if (values.store === undefined) throw usage('--store is missing');
  const anchors = (values.anchor ?? []).map((text) => {
    const [, seq, hash] = /^(\d+):([0-9a-f]{64})$/.exec(text) ?? [];
    if (seq === undefined || hash === undefined)
      throw usage('--anchor is SEQ:HASH, from a receipt or a checkpoint');
    return { seq: Number(seq), hash };
  });
  const store = openDatabase<RecordTables>({ file: values.store, readOnly: true });
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

type Values<Name extends string> = Partial<Record<Name, string>> & { json: boolean };

function read<Name extends string>(
  argv: readonly string[],
  names: readonly Name[],
): { values: Values<Name>; positionals: string[] } {
  const options = Object.fromEntries(names.map((name) => [name, { type: 'string' as const }]));
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: { ...options, json: { type: 'boolean' } },
    allowPositionals: true,
  });
  return {
    values: { ...(values as Partial<Record<Name, string>>), json: values['json'] === true },
    positionals,
  };
}

/** A file of the CA's folder: beside the named configuration, or in the folder of the default one, or here. */
function beside(configuration: string | undefined, name: string): string {
  return join(configuration === undefined ? DEFAULT_FOLDER : dirname(configuration), basename(name));
}

function usage(text: string): CaError {
  return new CaError('request-malformed', `${text}\n${help}`);
}

/** What the packages below throw, in the words and kinds of this one. */
function readable(error: unknown): unknown {
  if (error instanceof PolicyError) return new CaError('policy', error.message, { cause: error });
  if (error instanceof GitHubError)
    return new CaError(error.code === 'not-found' ? 'person-unknown' : 'github-unavailable', error.message, {
      cause: error,
    });
  if (error instanceof ServerError) {
    return new CaError(
      error.code === 'storage' || error.code === 'store-in-use' || error.code === 'listen'
        ? 'store'
        : 'configuration',
      error.message,
      { cause: error },
    );
  }
  if (error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS'))
    return usage(error.message);
  return error;
}

function print(text: string): void {
  process.stdout.write(text);
}

function printJson(value: unknown): number {
  print(`${JSON.stringify(value)}\n`);
  return 0;
}
