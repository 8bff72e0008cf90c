/** The commands that speak to a broker: `run`, `runs` and `hosts`. */
import type { RunWish } from '@beacon/client';
import type { Command } from 'commander';
import { collect, type Finish, JSON_OPTION } from './command-options.ts';
import type { Context } from './context.ts';
import type { RunOptions } from './run.ts';
import type { RunsOptions, WatchedOptions, WishOptions } from './runs.ts';
import type { HostsOptions } from './usable-hosts.ts';

export const BROKER_OPTION = [
  '--broker <url>',
  'the broker, https://…; by default BEACON_BROKER, then broker in config.yaml',
] as const;
const QUIET_OPTION = ['-q, --quiet', 'say nothing besides what the commands write', false] as const;

export function addRun(program: Command, context: Context, finish: Finish): void {
  const run = program
    .command('run')
    .description('run a command or a procedure on a host through the broker, and show its output')
    .usage(
      '[options] [LOGIN@]HOST COMMAND [key=value…]\n       beacon run [options] --procedure NAME HOST [key=value…]',
    )
    .argument('<host>', "[LOGIN@]HOST; the login is the one of the host's command when left out")
    .argument('[words...]', 'the command, and its parameters as key=value')
    .option('--procedure <name>', 'a procedure instead of one command')
    .option('--detach', 'print the id of the run and do not wait', false)
    .option(...QUIET_OPTION)
    .option(...JSON_OPTION)
    .option(...BROKER_OPTION);
  addSecretOptions(run).action(async (host: string, words: string[], options: RunOptions) =>
    finish(await (await import('./run.ts')).run(context, host, words, options)),
  );
  addRuns(program, context, finish);
  program
    .command('hosts')
    .description('the hosts that you may use through the broker; of one its commands, and why not')
    .argument('[host]', 'one host')
    .option(...JSON_OPTION)
    .option(...BROKER_OPTION)
    .action(async (host: string | undefined, options: HostsOptions) => {
      const hosts = await import('./usable-hosts.ts');
      finish(
        await (host === undefined
          ? hosts.listUsableHosts(context, options)
          : hosts.showUsableHost(context, host, options)),
      );
    });
}

function addRuns(program: Command, context: Context, finish: Finish): void {
  const runs = program
    .command('runs')
    .description('your runs; one of them in full; what can be done about it')
    .argument('[id]', 'one run')
    .option('--host <id>', 'only on this host')
    .option('--phase <phase>', 'only in this phase, such as running, interrupted or failed')
    .option('-n, --lines <number>', 'how many', '20')
    .option('--before <id>', 'only older ones than this run')
    .option(...JSON_OPTION)
    .option(...BROKER_OPTION)
    .action(async (id: string | undefined, options: RunsOptions) => {
      const { listRuns, showRun } = await import('./runs.ts');
      finish(await (id === undefined ? listRuns(context, options) : showRun(context, id, options)));
    });
  runs
    .command('watch')
    .description('show a run from its beginning until it is over, with its status as that of beacon run')
    .argument('<id>', 'the run')
    .option(...QUIET_OPTION)
    .option(...JSON_OPTION)
    .option(...BROKER_OPTION)
    .action(async (id: string, options: WatchedOptions) =>
      finish(await (await import('./runs.ts')).watchAgain(context, id, options)),
    );
  for (const [wish, description] of Object.entries(WISHES) as [RunWish, string][]) {
    const command = runs
      .command(wish)
      .description(description)
      .argument('<id>', 'the run')
      .option('--watch', 'show what follows, as watch does', false)
      .option(...QUIET_OPTION)
      .option(...JSON_OPTION)
      .option(...BROKER_OPTION);
    if (wish === 'resume' || wish === 'retry') addSecretOptions(command);
    command.action(async (id: string, options: WishOptions) =>
      finish(await (await import('./runs.ts')).wishRun(context, id, wish, options)),
    );
  }
}

const WISHES: Readonly<Record<RunWish, string>> = {
  cancel: 'stop it; what began is taken back',
  look: 'ask the host what became of the steps of a run that was interrupted',
  resume: 'begin an interrupted run again from its first step',
  retry: 'ask for the same once more, as another run',
  undo: 'take back what an interrupted run has done',
};

function addSecretOptions(command: Command): Command {
  return command
    .option(
      '--secret <name>',
      'a secret parameter: asked for, or a line of stdin; may be repeated',
      collect,
      [],
    )
    .option('--secret-file <name=file>', 'a secret parameter from a file; may be repeated', collect, []);
}
