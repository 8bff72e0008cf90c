/**
 * The subcommands that run on the broker's machine, alone with its files: `broker init|serve|ready|check`. Prints the
 * product on standard output; errors are thrown, for the command line to print.
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
  stopSignals,
  unreadOption,
  untilReady,
} from '@beacon/server';
import { DEFAULT_CONFIGURATION, DEFAULT_FOLDER, help, read, usage } from './arguments.ts';
import { checkBroker } from './check.ts';
import { brokerConfiguration, chosen, readBrokerConfiguration } from './configuration.ts';
import { initBroker } from './init.ts';
import { readableFailure } from './readable-failure.ts';
import { serveBroker } from './serve.ts';

type Subcommand = (argv: readonly string[]) => Promise<number>;

const subcommands: Readonly<Record<string, Subcommand>> = { init, serve, ready, check };

/**
 * Runs one subcommand, `broker` and its word first; resolves with its exit status. Throws BrokerError, whose `kind` says
 * how bad it is.
 */
export async function main(argv: readonly string[]): Promise<number> {
  const [, word = '', ...rest] = argv;
  const run = Object.hasOwn(subcommands, word) ? subcommands[word] : undefined;
  if (argv.includes('--help') || argv.includes('-h')) {
    print(`${help}\nSettings of broker.yaml:\n${describeSettings(brokerConfiguration)}`);
    return 0;
  }
  if (run === undefined) throw usage(`there is no beacon broker ${word}`, word);
  try {
    return await run(rest);
  } catch (error) {
    const typed = unreadOption(error);
    if (typed !== undefined) throw usage(typed, word);
    throw readableFailure(error);
  }
}

async function init(argv: readonly string[]): Promise<number> {
  const values = read(
    argv,
    ['dir', 'public-url', 'ca-url', 'service', 'listen', 'github-web-url', 'github-api-url', 'provider'],
    ['systemd'],
  );
  const publicUrl = values['public-url'];
  const caUrl = values['ca-url'];
  if (publicUrl === undefined)
    throw usage('--public-url is missing: how will people reach this broker?', 'init');
  if (caUrl === undefined)
    throw usage('--ca-url is missing: what is the public URL of the certificate authority?', 'init');
  requireChosen(values, chosen, (text) => usage(text, 'init'));
  const report = await initBroker({
    folder: values['dir'] ?? DEFAULT_FOLDER,
    publicUrl,
    caUrl,
    service: values['service'] ?? 'broker',
    ...chosenPlaces(values, '127.0.0.1:8444'),
    systemd: values.systemd,
  });
  if (values.json) return printJson(report);
  print(`Made a broker in ${report.folder}:\n\n`);
  for (const file of report.files) print(`  ${file}\n`);
  print(`\nFor the CA's services.yaml, under "services:":\n\n${report.entry}\nNext:\n`);
  for (const step of report.next) print(`  ${step}\n`);
  return 0;
}

async function serve(argv: readonly string[]): Promise<number> {
  const values = read(argv, ['config']);
  await serveBroker(values['config'] ?? DEFAULT_CONFIGURATION, stopSignals(), reloadSignal);
  return 0;
}

async function ready(argv: readonly string[]): Promise<number> {
  const values = read(argv, ['config', 'within', 'pid']);
  const options = readyOptions(values, (text) => usage(text, 'ready'));
  const file = values.config ?? DEFAULT_CONFIGURATION;
  const server = { name: `the broker of ${file}`, listen: () => readBrokerConfiguration(file).listen };
  await untilReady(server, options);
  return 0;
}

async function check(argv: readonly string[]): Promise<number> {
  const values = read(argv, ['config']);
  const results = await checkBroker(values['config'] ?? DEFAULT_CONFIGURATION);
  return printChecks(results, values.json);
}
