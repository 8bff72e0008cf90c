/**
 * The commands, their arguments and options, and what each calls: a table of contents. A command's own file is loaded when
 * it is called, so that `beacon ssh` carries no weight of the others.
 */
import { Command, InvalidArgumentError } from 'commander';
import type { Context } from './context.ts';

/** Sets the exit status of what was called. */
export type Finish = (status: number) => void;

export function createProgram(context: Context, version: string, finish: Finish): Command {
  const program = new Command('beacon')
    .description('Short-lived SSH certificates for people, and named commands on hosts')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand(false)
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .configureHelp({ sortSubcommands: false });

  program
    .command('login')
    .description('log in at the CA with a code; its address is remembered')
    .argument('[url]', 'the address of the CA, https://…')
    .option('--json', 'print JSON', false)
    .action(async (url: string | undefined, options: { json: boolean }) =>
      finish(await (await import('./login.ts')).login(context, url, options)),
    );
  program
    .command('logout')
    .description('end the session, here and at the CA')
    .option('--json', 'print JSON', false)
    .action(async (options: { json: boolean }) =>
      finish(await (await import('./login.ts')).logout(context, options)),
    );
  program
    .command('whoami')
    .description('say who the CA takes you for, and until when')
    .option('--json', 'print JSON', false)
    .action(async (options: { json: boolean }) =>
      finish(await (await import('./login.ts')).whoami(context, options)),
    );
  addSsh(program, context, finish);
  return program;
}

function addSsh(program: Command, context: Context, finish: Finish): void {
  program
    .command('ssh')
    .description('log in to a host, or run a command there, with a certificate of minutes')
    .usage('[options] [LOGIN@]HOST [-- command…]')
    .argument('<target>', '[LOGIN@]HOST; the login may be left out where the host has only one')
    .argument('[command...]', 'what to run there; as with ssh, its words are joined by spaces')
    .passThroughOptions()
    .option(
      '-i, --identity <file>',
      'use your own key: a private key file, or a .pub file of a key in your agent',
    )
    .option('--lifetime <time>', 'how long the certificate lives, 30s to 1h', '15m')
    .option('--config <file>', "read this ssh configuration too; by default ssh's own files are not read")
    .option('--ssh-option <key=value>', 'another option for ssh, may be repeated', collect, [])
    .option('-t, --tty', 'ask for a terminal even for a command')
    .option('-T, --no-tty', 'ask for no terminal')
    .option('-v, --verbose', 'say what the CA answered', false)
    .action(async (target: string, command: string[], options) => {
      const { ssh } = await import('./ssh.ts');
      finish(await ssh(context, target, command[0] === '--' ? command.slice(1) : command, options));
    });
}

function collect(value: string, before: readonly string[]): readonly string[] {
  if (value === '') throw new InvalidArgumentError('it is empty.');
  return [...before, value];
}
