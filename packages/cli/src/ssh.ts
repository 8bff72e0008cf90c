/**
 * `beacon ssh`: one certificate for a fresh key, one call of the system's `ssh`, and nothing left behind. The key lives in
 * this process and is reached through a socket that only its owner can open; on disk stand the certificate, one
 * known_hosts line and the revocation list, all public, in a directory of 0700 that goes when ssh ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ObtainedCertificate, obtainCertificate } from '@beacon/client';
import { openAgent } from '@beacon/ssh/agent-server';
import { formatKnownHost } from '@beacon/ssh/known-hosts';
import { type Context, openCa } from './context.ts';
import { CliError, usageError } from './error.ts';
import { openOwnKey } from './own-key.ts';
import { isSystemError } from './private-file.ts';
import { fetchRevokedHosts } from './revoked-hosts.ts';
import { sshArguments } from './ssh-arguments.ts';
import { chooseLogin, parseLifetime, parseSshTarget } from './ssh-target.ts';
import { formatTime } from './terminal.ts';

const RELAYED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

export interface SshOptions {
  readonly identity?: string;
  readonly lifetime: string;
  readonly config?: string;
  readonly sshOption: readonly string[];
  /** true with `-t`, false with `-T`. */
  readonly tty?: boolean;
  readonly verbose: boolean;
}

/** ssh's exit status. Failures of ours are thrown; `main.ts` makes 255 of them. */
export async function ssh(
  context: Context,
  target: string,
  command: readonly string[],
  options: SshOptions,
): Promise<number> {
  const wanted = parseSshTarget(target);
  const lifetimeSeconds = parseLifetime(options.lifetime);
  const { api } = await openCa(context);
  const signer =
    options.identity === undefined
      ? undefined
      : await openOwnKey(options.identity, context.environment['SSH_AUTH_SOCK']);
  const login = await chooseLogin(api, wanted);
  const obtained = await obtainCertificate(
    api,
    { host: wanted.host, login, lifetimeSeconds },
    { now: context.now, ...(signer === undefined ? {} : { signer }) },
  );
  report(context, obtained, login, options);
  const tty = chooseTty(context, obtained, command, options);
  const revokedHosts = await fetchRevokedHosts(api);
  return connect(context, obtained, { login, command, tty, options, revokedHosts });
}

interface Connection {
  readonly login: string;
  readonly command: readonly string[];
  readonly tty: 'ask' | 'force' | 'none';
  readonly options: SshOptions;
  readonly revokedHosts: Buffer;
}

async function connect(
  context: Context,
  obtained: ObtainedCertificate,
  connection: Connection,
): Promise<number> {
  const relay = relaySignals();
  const directory = await mkdtemp(join(tmpdir(), 'beacon-ssh-'));
  const remove = () => rmSync(directory, { recursive: true, force: true });
  process.once('exit', remove);
  try {
    const agent = await openAgent({
      identities: [{ blob: obtained.certificate.blob, comment: obtained.grant, signer: obtained.signer }],
    });
    try {
      const certificateFile = join(directory, 'certificate.pub');
      const knownHostsFile = join(directory, 'known_hosts');
      await writeFile(certificateFile, `${obtained.line}\n`, { mode: 0o600 });
      const revokedHostsFile = join(directory, 'revoked_hosts');
      await writeFile(knownHostsFile, knownHosts(obtained), { mode: 0o600 });
      await writeFile(revokedHostsFile, connection.revokedHosts, { mode: 0o600 });
      const { login, command, tty, options } = connection;
      const call = {
        host: obtained.host,
        login,
        agentSocket: agent.socketPath,
        certificateFile,
        knownHostsFile,
        revokedHostsFile,
        ...(options.config === undefined ? {} : { configurationFile: options.config }),
        options: options.sshOption,
        tty,
        command,
      };
      return await run(context, sshArguments(call), relay);
    } finally {
      await agent.close();
    }
  } finally {
    process.off('exit', remove);
    remove();
    relay.end();
  }
}

/** One line for each CA key that may vouch for the host, each for this one host. */
export function knownHosts({ host }: ObtainedCertificate): string {
  return host.authorities
    .map((key) => `${formatKnownHost({ host: host.id, port: 22, key, isAuthority: true })}\n`)
    .join('');
}

/** Runs ssh on our own stdin, stdout and stderr. */
async function run(context: Context, args: readonly string[], relay: SignalRelay): Promise<number> {
  if (relay.isStopped()) throw new CliError('stopped', 'unavailable', 'stopped before ssh was started');
  const { SSH_AUTH_SOCK: _, ...environment } = context.environment;
  const child = spawn('ssh', args, { stdio: 'inherit', env: environment });
  relay.passTo(child);
  return new Promise<number>((resolve, reject) => {
    child.once('error', (error) => reject(startError(error)));
    child.once('exit', (status, signal) =>
      resolve(signal === null ? (status ?? 255) : 128 + (constants.signals[signal] ?? 0)),
    );
  });
}

interface SignalRelay {
  isStopped(): boolean;
  passTo(child: ChildProcess): void;
  end(): void;
}

/** Signals that would end us end ssh instead, and we go when it has gone, with everything tidied up. */
function relaySignals(): SignalRelay {
  let child: ChildProcess | undefined;
  let stopped = false;
  const pass = (signal: NodeJS.Signals) => {
    stopped = true;
    child?.kill(signal);
  };
  for (const signal of RELAYED) process.on(signal, pass);
  return {
    isStopped: () => stopped,
    passTo: (started) => {
      child = started;
    },
    end: () => {
      for (const signal of RELAYED) process.off(signal, pass);
    },
  };
}

function startError(error: Error): CliError {
  return isSystemError(error, 'ENOENT')
    ? new CliError('ssh-missing', 'unavailable', 'no ssh is installed here: install the OpenSSH client')
    : new CliError('ssh-missing', 'unavailable', `ssh cannot be started: ${error.message}`, { cause: error });
}

function report(context: Context, obtained: ObtainedCertificate, login: string, options: SshOptions): void {
  const { terminal } = context;
  if (obtained.shortenedBySession) {
    terminal.talk(`beacon: the certificate ends with your session, at ${formatTime(obtained.validBefore)}`);
  }
  if (!options.verbose) return;
  const { host, certificate, grant, record } = obtained;
  terminal.talk(`beacon: ${login}@${host.id} at ${host.address} port ${host.port}`);
  terminal.talk(
    `beacon: certificate ${certificate.serial}, grant ${grant}, until ${formatTime(obtained.validBefore)}, record ${record.seq}`,
  );
}

/** A terminal only where policy gave one; without it the session works, but not interactively. */
function chooseTty(
  context: Context,
  obtained: ObtainedCertificate,
  command: readonly string[],
  options: SshOptions,
): Connection['tty'] {
  if (options.tty === false) return 'none';
  if (obtained.permitPty) return options.tty === true ? 'force' : 'ask';
  if (options.tty === true) throw usageError('policy gives you no terminal here (permit-pty): leave -t out');
  if (command.length === 0 && process.stdin.isTTY === true) {
    context.terminal.talk('beacon: policy gives you no terminal here (permit-pty), so the session has none');
  }
  return 'none';
}
