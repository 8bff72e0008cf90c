/**
 * The subcommands that run on the CA's machine, alone with its files: `ca init|serve|ready|check|backup|restore|service|key|root`,
 * `policy check|test`, `records verify|erase`. Prints the product on standard output; errors are thrown, for the command
 * line to print.
 */
import {
  chosenPlaces,
  describeSettings,
  print,
  printChecks,
  printJson,
  readyOptions,
  reloadSignal,
  requireChosen,
  stopSignal,
  talk,
  unreadOption,
  untilReady,
} from '@beacon/server';
import { beside, DEFAULT_CONFIGURATION, DEFAULT_FOLDER, help, read, usage } from './arguments.ts';
import { checkCa } from './check.ts';
import { caConfiguration, chosen, readCaConfiguration } from './configuration.ts';
import { initCa } from './init.ts';
import { CLIENT_ID_TO_SET } from './init-files.ts';
import { makeTokenKeyFile, publicTokenKey } from './keys.ts';
import { policyCheck, policyTest } from './policy-commands.ts';
import { readableFailure } from './readable-failure.ts';
import { serveCa } from './serve.ts';
import { makeServiceKey } from './service.ts';
import { readServices } from './services-configuration.ts';
import { backup, recordsErase, recordsVerify, restore } from './store-commands.ts';
import {
  makeKey,
  rootDraft,
  rootInit,
  rootSign,
  rotateLost,
  rotatePrepare,
  rotateRetire,
} from './trust-commands.ts';

type Subcommand = (argv: readonly string[]) => Promise<number>;

const subcommands: Readonly<Record<string, Subcommand>> = {
  'ca init': init,
  'ca serve': serve,
  'ca ready': ready,
  'ca check': check,
  'ca backup': backup,
  'ca restore': restore,
  'ca service key': serviceKey,
  'ca token-key': tokenKey,
  'ca key': makeKey,
  'ca root init': rootInit,
  'ca root draft': rootDraft,
  'ca root sign': rootSign,
  'ca rotate prepare': rotatePrepare,
  'ca rotate retire': rotateRetire,
  'ca rotate lost': rotateLost,
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
    print(`${help}\nSettings of ca.yaml:\n${describeSettings(caConfiguration)}`);
    return 0;
  }
  if (run === undefined || words === undefined) {
    throw usage(`there is no ${['beacon', ...argv].slice(0, 4).join(' ')}`, argv.slice(0, 2).join(' '));
  }
  try {
    return await run(argv.slice(words.split(' ').length));
  } catch (error) {
    const typed = unreadOption(error);
    if (typed !== undefined) throw usage(typed, words);
    throw readableFailure(error);
  }
}

async function init(argv: readonly string[]): Promise<number> {
  const { values } = read(
    argv,
    0,
    ['dir', 'public-url', 'listen', 'admin', 'client-id', 'github-web-url', 'github-api-url', 'provider'],
    ['systemd'],
  );
  const publicUrl = values['public-url'];
  if (publicUrl === undefined)
    throw usage('--public-url is missing: how will people reach this CA?', 'ca init');
  requireChosen(values, chosen, (text) => usage(text, 'ca init'));
  const report = await initCa({
    folder: values['dir'] ?? DEFAULT_FOLDER,
    publicUrl,
    ...chosenPlaces(values, '127.0.0.1:8443'),
    clientId: values['client-id'] ?? CLIENT_ID_TO_SET,
    systemd: values.systemd,
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
  const { values } = read(argv, 0, ['config']);
  await serveCa(values['config'] ?? DEFAULT_CONFIGURATION, stopSignal(), reloadSignal);
  return 0;
}

async function ready(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, 0, ['config', 'within', 'pid']);
  const options = readyOptions(values, (text) => usage(text, 'ca ready'));
  const file = values.config ?? DEFAULT_CONFIGURATION;
  const server = { name: `the CA of ${file}`, listen: () => readCaConfiguration(file).listen };
  await untilReady(server, options);
  return 0;
}

async function check(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, 0, ['config']);
  const results = await checkCa(values['config'] ?? DEFAULT_CONFIGURATION);
  return printChecks(results, values.json);
}

async function serviceKey(argv: readonly string[]): Promise<number> {
  const { values, positionals } = read(argv, 1, ['out']);
  const [id] = positionals;
  if (id === undefined) throw usage('name the service', 'ca service key');
  const { entry, privateKeyFile } = await makeServiceKey(id, values['out'] ?? `${id}.jwk`);
  if (values.json) return printJson({ private_key_file: privateKeyFile, entry });
  talk(
    `The private key is in ${privateKeyFile}: move it to the service, and to nowhere else.\nReview this entry and paste it under "services:" in services.yaml:\n`,
  );
  print(entry);
  return 0;
}

async function tokenKey(argv: readonly string[]): Promise<number> {
  const fresh = argv.includes('--new');
  const { positionals } = read(
    argv.filter((word) => word !== '--new'),
    1,
    [],
  );
  const [file] = positionals;
  if (file === undefined) throw usage('name the file of the private key', 'ca token-key');
  if (fresh) await makeTokenKeyFile(file);
  print(`${JSON.stringify(publicTokenKey(file))}\n`);
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
