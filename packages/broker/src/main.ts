/**
 * The subcommands that run on the broker's machine, alone with its files: `broker init|serve|ready|check`. Prints the
 * product on standard output; errors are thrown, for the command line to print.
 */
import { describeDefaults, reloadSignal, stopSignals, untilReady } from '@beacon/server';
import { DEFAULT_CONFIGURATION, DEFAULT_FOLDER, help, print, printJson, read, usage } from './arguments.ts';
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
    print(`${help}\nSettings of broker.yaml:\n${settings()}`);
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

/** What `parseArgs` says of an option that it does not understand. */
function unreadOption(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error) || !('message' in error))
    return undefined;
  if (!String(error.code).startsWith('ERR_PARSE_ARGS')) return undefined;
  return String(error.message).replace(/ To specify a positional.*$/, '');
}

function settings(): string {
  return describeDefaults(brokerConfiguration)
    .map(({ key, required, default: value, description }) => {
      const standing = value === undefined ? (required ? 'required' : 'optional') : `default ${value}`;
      return `  ${key}: ${description} (${standing})\n`;
    })
    .join('');
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
  requireChosen(values);
  const [, host = '', port = ''] = /^(.+):(\d+)$/.exec(values['listen'] ?? '127.0.0.1:8444') ?? [];
  const webUrl = values['github-web-url'] ?? 'https://github.com';
  const report = await initBroker({
    folder: values['dir'] ?? DEFAULT_FOLDER,
    publicUrl,
    caUrl,
    service: values['service'] ?? 'broker',
    listenHost: host.replace(/^\[|\]$/g, ''),
    listenPort: Number(port),
    provider: values['provider'] ?? 'github',
    webUrl,
    apiUrl:
      values['github-api-url'] ??
      (webUrl === 'https://github.com' ? 'https://api.github.com' : `${webUrl}/api/v3`),
    systemd: values.systemd,
  });
  if (values.json) return printJson(report);
  print(`Made a broker in ${report.folder}:\n\n`);
  for (const file of report.files) print(`  ${file}\n`);
  print(`\nFor the CA's services.yaml, under "services:":\n\n${report.entry}\nNext:\n`);
  for (const step of report.next) print(`  ${step}\n`);
  return 0;
}

/** Everything that stands in broker.yaml afterwards must be what a later start reads, and is refused by the option's name. */
function requireChosen(values: Partial<Record<string, string | boolean>>): void {
  for (const name of Object.keys(chosen.shape) as (keyof typeof chosen.shape)[]) {
    if (values[name] === undefined) continue;
    const result = chosen.shape[name].safeParse(values[name]);
    const [issue] = result.error?.issues ?? [];
    if (issue !== undefined) throw usage(`--${name}: ${issue.message}`, 'init');
  }
}

async function serve(argv: readonly string[]): Promise<number> {
  const values = read(argv, ['config']);
  await serveBroker(values['config'] ?? DEFAULT_CONFIGURATION, stopSignals(), reloadSignal);
  return 0;
}

async function ready(argv: readonly string[]): Promise<number> {
  const values = read(argv, ['config', 'within', 'pid']);
  const within = values['within'] ?? '0';
  const pid = values['pid'];
  if (!/^\d{1,4}$/.test(within)) throw usage('--within is a number of seconds', 'ready');
  if (pid !== undefined && !/^[1-9]\d{0,9}$/.test(pid))
    throw usage('--pid is the number of a process', 'ready');
  const file = values['config'] ?? DEFAULT_CONFIGURATION;
  const server = { name: `the broker of ${file}`, listen: () => readBrokerConfiguration(file).listen };
  await untilReady(server, {
    withinMs: Number(within) * 1000,
    ...(pid === undefined ? {} : { pid: Number(pid) }),
  });
  return 0;
}

async function check(argv: readonly string[]): Promise<number> {
  const values = read(argv, ['config']);
  const results = await checkBroker(values['config'] ?? DEFAULT_CONFIGURATION);
  const ok = results.every((result) => result.ok);
  if (values.json) printJson({ ok, checks: results });
  else
    for (const result of results)
      print(
        `${result.ok ? 'ok     ' : 'DEFECT '} ${result.check}: ${result.detail.replaceAll('\n', '\n        ')}\n`,
      );
  return ok ? 0 : 1;
}
