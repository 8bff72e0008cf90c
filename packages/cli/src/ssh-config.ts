/**
 * `beacon ssh-config`: makes plain `ssh`, and with it `scp`, `rsync` and Ansible, log in with certificates. It prints a
 * block for the person's ssh configuration; ssh itself then calls `beacon ssh-config --refresh LOGIN@HOST` each time
 * (`Match exec`, ssh_config(5)), which asks the CA for a new certificate when the last is about to end.
 *
 * The key is a file of 0600 that is made anew with each certificate and lives as long as that, five minutes by default; an
 * agent would have to be a process of its own that stays behind for each host. It adds no exposure: the session, which
 * lies beside it with the same mode, can ask for more than this key can open, and for longer. Every certificate has a
 * directory of its own and the configuration names it, so that a renewal never changes a key under an ssh that reads it.
 *
 * No `%r` or `%h` goes into the shell: a name with `$(…)` in it, from a repository's submodule for example, would be
 * executed (CVE-2023-51385); login and host stand there as fixed text. Without a certificate the name leads nowhere: no
 * other key is offered, and no address is dialled.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Host, type ObtainedCertificate, obtainCertificate } from '@beacon/client';
import { isName } from '@beacon/protocol/name';
import { HOST_KEY_ALGORITHMS } from '@beacon/ssh/client-options';
import { formatPrivateKey, generateKey } from '@beacon/ssh/key';
import { createSigner } from '@beacon/ssh/signature';
import { type Context, openCa } from './context.ts';
import { CliError, usageError } from './error.ts';
import { withLock } from './file-lock.ts';
import { ensurePrivateDirectory, readPrivateFile, writePrivateFile } from './private-file.ts';
import { fetchRevokedHosts } from './revoked-hosts.ts';
import { knownHosts } from './ssh.ts';
import { quote } from './ssh-arguments.ts';
import { personalDirectory } from './ssh-config-files.ts';
import { parseLifetime, parseSshTarget } from './ssh-target.ts';

export interface SshConfigOptions {
  readonly refresh?: string;
  readonly lifetime: string;
}

/** A certificate with less time than this left is renewed. */
const MARGIN_MS = 30_000;
const FIRST_LINE = /^# valid until (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)\n/;

/** Prints the block for these hosts, or for all that the CA shows. */
export async function sshConfig(
  context: Context,
  hosts: readonly string[],
  options: SshConfigOptions,
): Promise<number> {
  parseLifetime(options.lifetime);
  if (options.refresh !== undefined) return refresh(context, options.refresh, options);
  const { api } = await openCa(context);
  const all = await api.hosts();
  const unknown = hosts.find((id) => !all.some((host) => host.id === id));
  if (unknown !== undefined) {
    throw new CliError(
      'usage',
      'not-found',
      `the CA shows you no host ${JSON.stringify(unknown)}: see beacon ca host list`,
    );
  }
  const chosen = all.filter(
    ({ id, state }) => state === 'enabled' && (hosts.length === 0 || hosts.includes(id)),
  );
  const { terminal, place } = context;
  terminal.out(
    '# Made by beacon ssh-config. Keep it in a file of its own, such as ~/.ssh/beacon_config, and name that',
  );
  terminal.out('# before anything else in ~/.ssh/config:  Include beacon_config');
  for (const host of chosen) {
    for (const line of hostBlock(host, personalDirectory(place.stateDirectory), options.lifetime))
      terminal.out(line);
  }
  return 0;
}

function hostBlock({ id, logins }: Host, directory: string, lifetime: string): readonly string[] {
  const named = logins.filter((login) => isName('login', login));
  const [only, ...more] = named;
  return [
    '',
    `Host ${id}`,
    ...(only !== undefined && more.length === 0 ? [`    User ${only}`] : []),
    ...named.flatMap((login) => [
      `Match originalhost ${id} user ${login} exec "${refreshCommand(`${login}@${id}`, lifetime)}"`,
      `    Include ${quote(join(directory, `${login}@${id}.conf`))}`,
    ]),
    `Host ${id}`,
    '    HostName beacon-has-no-certificate.invalid',
    '    IdentityFile none',
    '    IdentitiesOnly yes',
    '    IdentityAgent none',
    `    HostKeyAlias ${id}`,
    `    HostKeyAlgorithms ${HOST_KEY_ALGORITHMS}`,
    '    UserKnownHostsFile none',
    '    GlobalKnownHostsFile none',
    '    StrictHostKeyChecking yes',
    '    UpdateHostKeys no',
    '    VerifyHostKeyDNS no',
    '    CheckHostIP no',
    '    PreferredAuthentications publickey',
  ];
}

/** This very program, by its absolute path, since ssh may be started where PATH says little. */
function refreshCommand(target: string, lifetime: string): string {
  const script = process.argv[1] ?? 'beacon';
  return [
    process.execPath,
    ...process.execArgv,
    script,
    'ssh-config',
    '--lifetime',
    lifetime,
    '--refresh',
    target,
  ]
    .map((word) => {
      if (/["'\\\n]/.test(word))
        throw usageError(`${JSON.stringify(word)} cannot stand in ssh's configuration: move it`);
      return /^[A-Za-z0-9@%+=:,./_-]+$/.test(word) ? word : `'${word}'`;
    })
    .join(' ')
    .replaceAll('%', '%%');
}

/** Makes sure of a certificate that is good for some time yet. */
async function refresh(context: Context, text: string, options: SshConfigOptions): Promise<number> {
  const { host, login } = parseSshTarget(text);
  if (login === undefined) throw usageError('--refresh takes LOGIN@HOST');
  const { stateDirectory } = context.place;
  const directory = personalDirectory(stateDirectory);
  const name = `${login}@${host}`;
  const configuration = join(directory, `${name}.conf`);
  if (await isFresh(configuration, context.now())) return 0;
  await ensurePrivateDirectory(stateDirectory);
  await ensurePrivateDirectory(directory);
  await withLock(join(directory, `${name}.lock`), async () => {
    if (await isFresh(configuration, context.now())) return;
    await removeExpired(join(directory, name), context.now());
    const { privateKey } = generateKey('ssh-ed25519');
    const { api } = await openCa(context);
    const wish = { host, login, lifetimeSeconds: parseLifetime(options.lifetime) };
    const obtained = await obtainCertificate(api, wish, {
      signer: createSigner(privateKey),
      now: context.now,
    });
    const revokedHosts = await fetchRevokedHosts(api);
    await ensurePrivateDirectory(join(directory, name));
    const until = Math.floor(obtained.validBefore.getTime() / 1000);
    const own = join(directory, name, `${until}-${randomBytes(6).toString('hex')}`);
    await mkdir(own, { mode: 0o700 });
    await writePrivateFile(join(own, 'key'), await formatPrivateKey(privateKey));
    await writePrivateFile(join(own, 'key-cert.pub'), `${obtained.line}\n`);
    await writePrivateFile(join(own, 'known_hosts'), knownHosts(obtained));
    await writePrivateFile(join(own, 'revoked_hosts'), revokedHosts);
    await writePrivateFile(configuration, hostConfiguration(obtained, own));
  });
  return 0;
}

function hostConfiguration(obtained: ObtainedCertificate, own: string): string {
  return [
    `# valid until ${obtained.validBefore.toISOString()}`,
    `HostName ${obtained.host.address}`,
    `Port ${obtained.host.port}`,
    `IdentityFile ${quote(join(own, 'key'))}`,
    `UserKnownHostsFile ${quote(join(own, 'known_hosts'))}`,
    `RevokedHostKeys ${quote(join(own, 'revoked_hosts'))}`,
    ...(obtained.permitPty ? [] : ['RequestTTY no']),
    '',
  ].join('\n');
}

async function isFresh(configuration: string, now: Date): Promise<boolean> {
  const [, until] = FIRST_LINE.exec((await readPrivateFile(configuration)) ?? '') ?? [];
  return until !== undefined && new Date(until).getTime() - now.getTime() > MARGIN_MS;
}

/** Keys whose certificate has ended open nothing and are not kept. */
async function removeExpired(directory: string, now: Date): Promise<void> {
  let entries: string[];
  try {
    entries = await readdir(directory);
  } catch {
    return;
  }
  for (const entry of entries) {
    const [, seconds] = /^([0-9]+)-[0-9a-f]{12}$/.exec(entry) ?? [];
    if (seconds !== undefined && Number(seconds) * 1000 <= now.getTime()) {
      await rm(join(directory, entry), { recursive: true, force: true });
    }
  }
}
