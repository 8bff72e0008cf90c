/** The commands that make a machine a managed host, look at it and take it back. They are called on the host, by root. */
import { type Command, Option } from 'commander';
import { collect, type Finish, JSON_OPTION, type Json } from './command-options.ts';
import type { Context } from './context.ts';
import type { HostInitOptions, HostPlaceOptions, HostRemoveOptions, HostSyncOptions } from './host.ts';

const ROOT_OPTION = ['--root <dir>', 'the image of a machine, instead of this one', '/'] as const;

export function addHost(program: Command, context: Context, finish: Finish): void {
  const host = program.command('host').description('make this machine a managed host, and look after it');
  host
    .command('init')
    .description('make this machine a managed host; shows what it does, and takes it back when it fails')
    .option('--id <host>', 'the host id; by default the one that this machine has already')
    .option('--root-key <file>', 'the public key that signs the trust root; pinned at the first time')
    .option('--trust <dir>', 'a folder of trust documents: root.json, status.json, their .sig, and krl')
    .option('--ca <url>', 'the CA, https://…: gives trust documents, enrols this host, is asked by sync')
    .option('--token-file <file>', 'the token of beacon ca host token, to enrol with; - reads standard input')
    .option('--login <name>', 'the login that certificates enter (default: "beacon")')
    .option('--accounts <name=count>', 'a pool of accounts for commands; may be repeated', collect, [])
    .option('--runners <count>', "be ready for so many of GitHub's runners: accounts, commands, a unit")
    .option(
      '--github-url <url>',
      'where runners register, for GitHub Enterprise Server (default: "https://github.com")',
    )
    .option('--runner-downloads <url>', 'where their programs are fetched (default: those of actions/runner)')
    .option(
      '--personal-login <name>',
      'an account that persons enter by beacon ssh; may be repeated',
      collect,
      [],
    )
    .option('--no-personal-logins', 'let no account be entered by beacon ssh any more')
    .option(
      '--broker-address <address>',
      'where the broker connects from: exempt from the penalties of sshd 9.8 and newer; may be repeated',
      collect,
      [],
    )
    .option('--no-broker-addresses', 'exempt none any more')
    .option('--from <dir>', 'the unpacked archive for hosts; by default where this program lies')
    .option('--dry-run', 'print what would change, and change nothing', false)
    .addOption(
      new Option('--print <form>', 'print the same for a fleet').choices(['shell', 'cloud-init', 'ansible']),
    )
    .option(...ROOT_OPTION)
    .action(async (options: HostInitOptions) =>
      finish(await (await import('./host.ts')).hostInit(context, options)),
    );
  host
    .command('check')
    .description('name everything that is wrong with this host, with what to do; 78 when something is')
    .option(...ROOT_OPTION)
    .option(...JSON_OPTION)
    .action(async (options: HostPlaceOptions & Json) =>
      finish(await (await import('./host.ts')).hostCheck(context, options)),
    );
  host
    .command('sync')
    .description('fetch and use new trust documents, renew the host certificate, report to the CA')
    .option('--every <seconds>', 'go on until stopped, where neither systemd nor cron calls this')
    .option('--quiet', 'say nothing unless something has changed or does not work', false)
    .option(...ROOT_OPTION)
    .action(async (options: HostSyncOptions) =>
      finish(await (await import('./host.ts')).hostSync(context, options)),
    );
  host
    .command('remove')
    .description('take this host back: everything is as it was before init')
    .option('--purge', "remove the gate's records too", false)
    .option(...ROOT_OPTION)
    .action(async (options: HostRemoveOptions) =>
      finish(await (await import('./host.ts')).hostRemove(context, options)),
    );
}
