/**
 * The commands that administer a CA: through its API as the logged-in person, or, for what is done on the CA's machine
 * alone with its files, handed on whole to `@beacon/ca`, which nothing else here ever loads.
 */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { collect, type Finish, JSON_OPTION, type Json, REASON_OPTION } from './command-options.ts';
import type { Context } from './context.ts';
import { CliError } from './error.ts';
import type { ExplainOptions } from './explain.ts';
import type { TokenOptions } from './host-token.ts';
import type { AddHostOptions, ChangeOptions } from './hosts.ts';
import type { TailOptions } from './records.ts';
import type { TraceOptions } from './records-trace.ts';
import type { RevokeOptions } from './revoke.ts';
import type { ActivateOptions } from './rotation.ts';
import { BROKER_OPTION } from './run-commands.ts';
import type { PublishOptions } from './trust-root.ts';

export function addCa(program: Command, context: Context, finish: Finish): void {
  const ca = program.command('ca').description('administer the certificate authority');
  forward(ca, ['ca', 'init'], "make a CA's folder: keys, configuration, example policy", finish);
  forward(ca, ['ca', 'serve'], 'run the CA', finish);
  forward(ca, ['ca', 'ready'], 'ask whether the CA of a configuration is ready, and wait for it', finish);
  forward(ca, ['ca', 'check'], "check a CA's folder and configuration", finish);
  forward(
    ca,
    ['ca', 'backup'],
    'copy the store and what belongs to it, but no keys, while the CA serves',
    finish,
  );
  forward(
    ca,
    ['ca', 'restore'],
    'put a backup where no store is, or go on with a store that was put back',
    finish,
  );
  forward(ca, ['ca', 'token-key'], 'show the public half of a key for tokens, or make one', finish);
  forward(ca, ['ca', 'key'], 'make a key that certifies users or hosts, or signs the trust status', finish);
  addTrustRoot(ca, context, finish);
  addRotation(ca, context, finish);
  forward(ca, ['ca', 'service'], 'key, list, check: the services that may act for people', finish);
  addHosts(ca, context, finish);
  addPersons(ca, context, finish);
}

function addTrustRoot(ca: Command, context: Context, finish: Finish): void {
  const root = ca.command('root').description('what hosts trust: a document that an offline key signs');
  forward(root, ['ca', 'root', 'init'], 'make the root key, to be kept offline', finish);
  forward(root, ['ca', 'root', 'draft'], 'draw up the next trust root', finish);
  forward(root, ['ca', 'root', 'sign'], 'sign a trust root, where the root key is', finish);
  root
    .command('publish')
    .description(
      'give the CA a signed trust root: FILE with FILE.sig, and FILE.handover where the key is new',
    )
    .argument('<file>', 'the document')
    .option('--now', 'revoke the CA keys that it leaves out, whatever depends on them', false)
    .option(...JSON_OPTION)
    .action(async (file: string, options: PublishOptions) =>
      finish(await (await import('./trust-root.ts')).publishTrustRoot(context, file, options)),
    );
}

function addRotation(ca: Command, context: Context, finish: Finish): void {
  const rotate = ca.command('rotate').description('replace a key that certifies users or hosts');
  forward(
    rotate,
    ['ca', 'rotate', 'prepare'],
    'make the next key, and draw up a root that names both',
    finish,
  );
  rotate
    .command('status')
    .description(
      'which keys hosts trust or shall trust, which hosts lack them, and what depends on former ones',
    )
    .option(...JSON_OPTION)
    .action(async (options: Json) =>
      finish(await (await import('./rotation.ts')).showRotation(context, options)),
    );
  rotate
    .command('activate')
    .description('let the CA sign with the next key; refused while hosts seen within a day lack it')
    .argument('<key>', 'its .pub file, or its fingerprint SHA256:…')
    .option('--without <host>', 'a host that is left behind; may be repeated', collect, [])
    .option(...REASON_OPTION)
    .option(...JSON_OPTION)
    .action(async (key: string, options: ActivateOptions) =>
      finish(await (await import('./rotation.ts')).activateKey(context, key, options)),
    );
  forward(rotate, ['ca', 'rotate', 'retire'], 'draw up a root without the keys that signed before', finish);
  forward(
    rotate,
    ['ca', 'rotate', 'lost'],
    'say that nobody has the key that signs, so that a start takes another',
    finish,
  );
}

function addHosts(ca: Command, context: Context, finish: Finish): void {
  const host = ca.command('host').description('the machines that certificates can be issued for');
  host
    .command('add')
    .description('register a host and print its host certificate')
    .argument('<id>', 'the host id, such as build-01')
    .requiredOption('--address <host[:port]>', 'where ssh connects to; the port is 22 unless given')
    .requiredOption('--login <name>', 'a Unix login that certificates may enter; may be repeated', collect)
    .option('--label <k=v>', 'a label for policies; may be repeated', collect, [])
    .option('--pool <name>', 'a pool for policies; may be repeated', collect, [])
    .requiredOption(
      '--host-key <file>',
      "the host's own public key, such as /etc/ssh/ssh_host_ed25519_key.pub",
    )
    .option(...JSON_OPTION)
    .action(async (id: string, options: AddHostOptions) =>
      finish(await (await import('./hosts.ts')).addHost(context, id, options)),
    );
  host
    .command('list')
    .description('list the hosts')
    .option(...JSON_OPTION)
    .action(async (options: Json) => finish(await (await import('./hosts.ts')).listHosts(context, options)));
  host
    .command('status')
    .description(
      'how each host stands: when it was seen, its versions, clock, contract, records, certificate',
    )
    .argument('[id]', 'one host alone')
    .option(...JSON_OPTION)
    .action(async (id: string | undefined, options: Json) =>
      finish(await (await import('./host-status.ts')).showHosts(context, id, options)),
    );
  addHostTokens(host, context, finish);
  for (const change of ['disable', 'enable'] as const) {
    host
      .command(change)
      .description(
        change === 'disable' ? 'issue no more certificates for a host' : 'issue certificates for it again',
      )
      .argument('<id>', 'the host id')
      .option(...REASON_OPTION)
      .option(...JSON_OPTION)
      .action(async (id: string, options: ChangeOptions) =>
        finish(await (await import('./hosts.ts')).changeHost(context, id, change, options)),
      );
  }
}

function addHostTokens(host: Command, context: Context, finish: Finish): void {
  host
    .command('token')
    .description('print a token by which one machine, or with --hosts a fleet, becomes a host by itself')
    .argument('[id]', 'the host id')
    .option('--address <host[:port]>', 'where ssh connects to; the id when left out')
    .option('--hosts <pattern>', 'for a fleet: the pattern of its host ids')
    .option('--uses <number>', 'for a fleet: how many machines; 1 unless given')
    .option('--domain <name>', "for a fleet: an address is the host's id, a dot and this")
    .option('--port <number>', 'for a fleet: the port of ssh', '22')
    .option('--login <name>', 'a login; may be repeated; beacon when left out', collect, [])
    .option('--label <k=v>', 'a label for policies; may be repeated', collect, [])
    .option('--pool <name>', 'a pool for policies; may be repeated', collect, [])
    .option('--lifetime <time>', 'how long the token is good, 1m to 30d', '1h')
    .option('--replace', 'the host is there and is enrolled again; its certificates are revoked', false)
    .option(...JSON_OPTION)
    .action(async (id: string | undefined, options: TokenOptions) =>
      finish(await (await import('./host-token.ts')).makeHostToken(context, id, options)),
    );
  host
    .command('tokens')
    .description('list the tokens that are good for something still')
    .option(...JSON_OPTION)
    .action(async (options: Json) =>
      finish(await (await import('./host-token.ts')).listHostTokens(context, options)),
    );
  host
    .command('revoke-token')
    .description('take a token back')
    .argument('<id>', 'its id, as tokens shows it')
    .option(...JSON_OPTION)
    .action(async (id: string, options: Json) =>
      finish(await (await import('./host-token.ts')).revokeHostToken(context, id, options)),
    );
}

function addPersons(ca: Command, context: Context, finish: Finish): void {
  const person = ca.command('person').description('who may ask at all');
  person
    .command('list')
    .description('list who is disabled')
    .option(...JSON_OPTION)
    .action(async (options: Json) =>
      finish(await (await import('./persons.ts')).listDisabledPersons(context, options)),
    );
  for (const change of ['disable', 'enable'] as const) {
    person
      .command(change)
      .description(
        change === 'disable' ? "end a person's sessions and let them begin no more" : 'let them log in again',
      )
      .argument('<person>', '<provider>:<numeric id>, such as github:583231')
      .option(...REASON_OPTION)
      .option(...JSON_OPTION)
      .action(async (id: string, options: ChangeOptions) =>
        finish(await (await import('./persons.ts')).changePerson(context, id, change, options)),
      );
  }
}

export function addRevoke(program: Command, context: Context, finish: Finish): void {
  program
    .command('revoke')
    .description('take back certificates that have not expired, by exactly one of these')
    .option('--serial <number>', 'one certificate')
    .option('--grant <id>', "a grant's certificate")
    .option('--person <person>', 'all of a person; also ends their sessions')
    .option('--key <file or SHA256:…>', 'all for this public key')
    .option('--ca-key <file or SHA256:…>', 'all that this CA key signed')
    .option('--halt', "also stop the undo of these grants' commands on hosts", false)
    .option(...REASON_OPTION)
    .option(...JSON_OPTION)
    .action(async (options: RevokeOptions) =>
      finish(await (await import('./revoke.ts')).revoke(context, options)),
    );
}

export function addPolicy(program: Command, context: Context, finish: Finish): void {
  const policy = program.command('policy').description('check, test and question the policy');
  forward(policy, ['policy', 'check'], 'check policy files against the schema', finish);
  forward(policy, ['policy', 'test'], 'run the cases of a file', finish);
  policy
    .command('explain')
    .description('ask the CA what it would decide, and why; 77 when it would deny')
    .requiredOption('--host <id>', 'the host')
    .option('--login <name>', "the login; by default the host's only one")
    .option('--person <person>', 'for another than yourself (needs ca.decisions)')
    .option('--service <id>', 'as if asked through this service (needs ca.decisions)')
    .option('--command <name>', 'for this command instead of a login by ssh')
    .option('--param <name=value>', 'a parameter of the command; may be repeated', collect, [])
    .option('--lifetime <time>', 'how long the certificate would live, 30s to 1h', '15m')
    .option(...JSON_OPTION)
    .action(async (options: ExplainOptions) =>
      finish(await (await import('./explain.ts')).explain(context, options)),
    );
}

export function addRecords(program: Command, context: Context, finish: Finish): void {
  const records = program.command('records').description('what happened, as the CA wrote it down');
  records
    .command('tail')
    .description('print the newest records')
    .option('-n, --lines <number>', 'how many', '20')
    .option('--after <seq>', 'from behind this record on instead')
    .option('--person <person>', 'only of this person')
    .option('--host <id>', 'only of this host')
    .option('--grant <id>', 'only of this grant')
    .option('-f, --follow', 'go on with those that follow', false)
    .option('--json', 'print the exact lines', false)
    .action(async (options: TailOptions) =>
      finish(await (await import('./records.ts')).tailRecords(context, options)),
    );
  records
    .command('verify')
    .description("recompute the chain and hold it against the CA's checkpoint and this machine's memory")
    .option('--store <file>', "read a CA's store on this machine instead of asking the CA")
    .option('--config <file>', 'read the store that this ca.yaml names, a PostgreSQL database too')
    .option(
      '--anchor <seq:hash>',
      'a record that somebody kept, which must stand there; may be repeated',
      collect,
      [],
    )
    .option(...JSON_OPTION)
    .action(async (options: VerifyOptions) => {
      const { store, config } = options;
      if (store === undefined && config === undefined) {
        finish(await (await import('./records-verify.ts')).verifyRecords(context, options));
        return;
      }
      if (store !== undefined && !existsSync(store)) {
        throw new CliError(
          'file-missing',
          'not-found',
          `there is no ${store}: name the CA's store, data/ca.db`,
        );
      }
      const anchors = options.anchor.flatMap((anchor) => ['--anchor', anchor]);
      const json = options.json ? ['--json'] : [];
      const place = [
        ...(store === undefined ? [] : ['--store', store]),
        ...(config === undefined ? [] : ['--config', config]),
      ];
      finish(await runCa(['records', 'verify', ...place, ...anchors, ...json]));
    });
  records
    .command('trace')
    .description('join what CA, broker, host and sshd wrote about a grant; 1 when something does not match')
    .argument('<grant>', "its id, as beacon runs ID and sshd's log show it")
    .option('--host-records <file>', "a copy of the host's /var/lib/beacon/records/gate.ndjson")
    .option('--sshd-log <file>', "sshd's log of that host")
    .option(...JSON_OPTION)
    .option(...BROKER_OPTION)
    .action(async (grant: string, options: TraceOptions) =>
      finish(await (await import('./records-trace.ts')).traceGrant(context, grant, options)),
    );
  forward(records, ['records', 'erase'], "take a person's names and addresses out of a CA's store", finish);
}

interface VerifyOptions extends Json {
  readonly store?: string;
  readonly config?: string;
  readonly anchor: readonly string[];
}

/** A command of `@beacon/ca`: everything behind its name goes there as it was typed. */
function forward(
  parent: Command,
  words: readonly [string, ...string[]],
  description: string,
  finish: Finish,
): void {
  parent
    .command(words.at(-1) ?? '')
    .description(`${description} (on the CA's machine)`)
    .argument('[arguments...]')
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (given: string[]) => finish(await runCa([...words, ...given])));
}

async function runCa(argv: readonly string[]): Promise<number> {
  const { main } = await import('@beacon/ca');
  return main(argv);
}
