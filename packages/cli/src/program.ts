/**
 * The commands, their arguments and options, and what each calls: a table of contents. A command's own file is loaded when
 * it is called, so that `beacon ssh` carries no weight of the others. What administers a CA is `administration.ts`.
 */
import { Command } from 'commander';
import { addCa, addPolicy, addRecords, addRevoke } from './administration.ts';
import { addBroker } from './broker-commands.ts';
import { collect, type Finish, JSON_OPTION, type Json } from './command-options.ts';
import type { Context } from './context.ts';
import { addGate } from './gate-commands.ts';
import { addHost } from './host-commands.ts';
import type { LoginOptions } from './login.ts';
import { addRun } from './run-commands.ts';
import type { SshOptions } from './ssh.ts';
import type { SshConfigOptions } from './ssh-config.ts';

export function createProgram(context: Context, version: string, finish: Finish): Command {
  const program = new Command('beacon')
    .description(
      'Short-lived SSH certificates for people, the authority that issues them, and commands on hosts',
    )
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand(false)
    .enablePositionalOptions()
    .showHelpAfterError('(see --help)')
    .showSuggestionAfterError();
  addLogin(program, context, finish);
  addSsh(program, context, finish);
  addRun(program, context, finish);
  addCa(program, context, finish);
  addBroker(program, finish);
  addRevoke(program, context, finish);
  addPolicy(program, context, finish);
  addRecords(program, context, finish);
  addGate(program, finish);
  addHost(program, context, finish);
  addShow(program, context, finish);
  addCompletion(program, context, finish);
  return program;
}

function addLogin(program: Command, context: Context, finish: Finish): void {
  program
    .command('login')
    .description('log in at the CA with a code; its address is remembered')
    .argument('[url]', 'the address of the CA, https://…; by default the one remembered in config.yaml')
    .option('--broker <url>', 'a broker of this CA; its address is remembered too')
    .option(...JSON_OPTION)
    .action(async (url: string | undefined, options: LoginOptions) =>
      finish(await (await import('./login.ts')).login(context, url, options)),
    );
  program
    .command('logout')
    .description('end the session, here and at the CA')
    .option(...JSON_OPTION)
    .action(async (options: Json) => finish(await (await import('./login.ts')).logout(context, options)));
  program
    .command('whoami')
    .description('say who the CA takes you for, and until when')
    .option(...JSON_OPTION)
    .action(async (options: Json) => finish(await (await import('./login.ts')).whoami(context, options)));
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
      'use your own key: a private key file, or the .pub file of a key in your agent',
    )
    .option('--lifetime <time>', 'how long the certificate lives, 30s to 1h', '15m')
    .option('--config <file>', "read this ssh configuration too; by default none is read, not even ssh's own")
    .option('--ssh-option <key=value>', 'one more option for ssh; may be repeated', collect, [])
    .option('-t, --tty', 'ask for a terminal even for a command')
    .option('-T, --no-tty', 'ask for no terminal')
    .option('-v, --verbose', 'say what the CA answered', false)
    .action(async (target: string, command: string[], options: SshOptions) => {
      const { ssh } = await import('./ssh.ts');
      // Commander sets a default of its own for the pair --tty and --no-tty.
      const typed =
        program.commands.find((one) => one.name() === 'ssh')?.getOptionValueSource('tty') === 'cli';
      const { tty, ...others } = options;
      const asked = typed && tty !== undefined ? { ...others, tty } : others;
      finish(await ssh(context, target, command[0] === '--' ? command.slice(1) : command, asked));
    });
  program
    .command('ssh-config')
    .description('print a block for ~/.ssh/config, so that ssh, scp, rsync and Ansible work by themselves')
    .argument('[host...]', 'for these hosts; by default for all that the CA shows you')
    .option('--lifetime <time>', 'how long each certificate lives, 30s to 1h', '5m')
    .option('--refresh <login@host>', 'for ssh itself: make sure of a certificate, and print nothing')
    .action(async (hosts: string[], options: SshConfigOptions) =>
      finish(await (await import('./ssh-config.ts')).sshConfig(context, hosts, options)),
    );
}

function addShow(program: Command, context: Context, finish: Finish): void {
  program
    .command('certificate')
    .description('look at OpenSSH certificates')
    .command('show')
    .description('say what each certificate holds; not 0 when one is malformed or wrongly signed')
    .argument('<file...>', 'a -cert.pub file; - is stdin')
    .option(...JSON_OPTION)
    .action(async (files: string[], options: Json) =>
      finish(await (await import('./certificate-show.ts')).showCertificates(context, files, options)),
    );
  program
    .command('revocations')
    .description('look at OpenSSH revocation lists')
    .command('show')
    .description('say what each list revokes; not 0 when one is malformed')
    .argument('<file...>', 'a revocation list (KRL); - is stdin')
    .option(...JSON_OPTION)
    .action(async (files: string[], options: Json) =>
      finish(await (await import('./revocations-show.ts')).showRevocations(context, files, options)),
    );
}

function addCompletion(program: Command, context: Context, finish: Finish): void {
  program
    .command('completion')
    .description('print a completion script')
    .argument('<shell>', 'bash, zsh or fish')
    .action(async (shell: string) => {
      const { formatCompletion } = await import('./completion.ts');
      for (const line of formatCompletion(program, shell).trimEnd().split('\n')) context.terminal.out(line);
      finish(0);
    });
}
