/**
 * The first login of a host, by itself (DESIGN.md section 6): a fresh key that stays in this process, a certificate of a
 * minute that opens no command, and OpenSSH's own client through this machine's sshd, which must show the new host
 * certificate. Success is the gate's `hello`; anything else is told in the words of those who refused.
 */

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { plainText } from '@beacon/client';
import { ProtocolError } from '@beacon/protocol/error';
import { parseGateEvent } from '@beacon/protocol/gate-event';
import type { TrustRoot } from '@beacon/protocol/trust';
import { openAgent } from '@beacon/ssh/agent-server';
import { parseCertificateLine } from '@beacon/ssh/certificate';
import { generateKey } from '@beacon/ssh/key';
import { formatKnownHost } from '@beacon/ssh/known-hosts';
import { parsePublicKeyLine } from '@beacon/ssh/public-key';
import { createSigner } from '@beacon/ssh/signature';
import { type Asker, askSelfTest } from './ask-ca.ts';
import { askHost } from './enrolment.ts';
import { HostError } from './error.ts';
import type { Machine } from './machine.ts';

/** A reload takes sshd a moment, in which it listens to nobody or goes on as before. */
const ATTEMPTS = 3;
const BETWEEN_MS = 1_000;
const LISTEN_MS = 10_000;
const LOGIN_MS = 45_000;
const MOST_CHARACTERS = 4_096;

interface Door {
  readonly address: string;
  readonly port: number;
}

/** Throws HostError `self-test-failed`, `ca-refused`, ClientError. */
export async function testGate(
  machine: Machine,
  asker: Asker,
  login: string,
  root: TrustRoot,
): Promise<void> {
  const door = await findDoor(doorsOf(askHost(machine)));
  const since = Math.floor(Date.now() / 1_000);
  const fresh = createSigner(generateKey('ssh-ed25519').privateKey);
  const line = await askSelfTest(asker, login, fresh);
  const folder = mkdtempSync(join(tmpdir(), 'beacon-self-test-'));
  const { blob } = parseCertificateLine(line);
  const agent = await openAgent({ identities: [{ blob, comment: 'self-test', signer: fresh }] });
  try {
    const files = { certificate: join(folder, 'certificate.pub'), knownHosts: join(folder, 'known_hosts') };
    writeFileSync(files.certificate, `${line}\n`);
    writeFileSync(files.knownHosts, knownHosts(asker.host, root));
    const argv = sshArguments(door, { host: asker.host, login, agent: agent.socketPath, ...files });
    for (let attempt = 1; ; attempt++) {
      const end = await openGate(machine.find('ssh') ?? '/usr/bin/ssh', argv, asker.host);
      if (end.isHello) return;
      // What the gate has seen once it does not take again.
      if (end.stdout !== '' || attempt === ATTEMPTS) throw failed(end.said, sshdSays(machine, since));
      await delay(BETWEEN_MS);
    }
  } finally {
    await agent.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Where sshd listens, as this machine reaches it; `sshd -T` says `0.0.0.0:22` or `[::]:22`. */
export function doorsOf(settings: ReadonlyMap<string, readonly string[]>): Door[] {
  return (settings.get('listenaddress') ?? []).flatMap((text) => {
    const [, bracketed, plain, digits] =
      /^(?:\[([0-9a-fA-F:.%a-z]+)\]|([0-9a-zA-Z.-]+)):(\d{1,5})/.exec(text) ?? [];
    const address = bracketed ?? plain;
    if (address === undefined) return [];
    const own = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address;
    return [{ address: own, port: Number(digits) }];
  });
}

async function findDoor(doors: readonly Door[]): Promise<Door> {
  const end = performance.now() + LISTEN_MS;
  do {
    for (const door of doors) if (await isOpen(door)) return door;
    await delay(BETWEEN_MS / 4);
  } while (performance.now() < end);
  const places = doors.map(({ address, port }) => `${address} port ${port}`).join(', ');
  throw failed(`nobody listens where sshd -T says that it does (${places || 'nowhere'})`, '');
}

function isOpen({ address, port }: Door): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: address, port, timeout: 2_000 });
    const end = (isThere: boolean) => (): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.on('connect', end(true)).on('error', end(false)).on('timeout', end(false));
  });
}

interface Call {
  readonly host: string;
  readonly login: string;
  readonly agent: string;
  readonly certificate: string;
  readonly knownHosts: string;
}

function sshArguments({ address, port }: Door, call: Call): string[] {
  const options = {
    BatchMode: 'yes',
    IdentityAgent: call.agent,
    IdentitiesOnly: 'yes',
    IdentityFile: call.certificate,
    PreferredAuthentications: 'publickey',
    HostKeyAlias: call.host,
    // A plain key is believed by nobody here, so this shows the host certificate too.
    StrictHostKeyChecking: 'yes',
    UserKnownHostsFile: call.knownHosts,
    GlobalKnownHostsFile: 'none',
    UpdateHostKeys: 'no',
    ControlMaster: 'no',
    ControlPath: 'none',
    ConnectTimeout: '10',
    LogLevel: 'ERROR',
    Port: String(port),
    User: call.login,
  };
  const words = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  return ['-F', 'none', '-T', ...words, '--', address];
}

function knownHosts(host: string, { hostCa }: TrustRoot): string {
  return hostCa
    .map((line) => parsePublicKeyLine(line).key)
    .map((key) => `${formatKnownHost({ host, port: 22, key, isAuthority: true })}\n`)
    .join('');
}

interface End {
  readonly isHello: boolean;
  /** The gate's own lines. */
  readonly stdout: string;
  /** Everything, for a person. */
  readonly said: string;
}

async function openGate(ssh: string, argv: readonly string[], host: string): Promise<End> {
  const child = spawn(ssh, argv, { env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' }, cwd: '/', stdio: 'pipe' });
  const timer = setTimeout(() => child.kill('SIGKILL'), LOGIN_MS);
  try {
    return await listen(child, host);
  } finally {
    clearTimeout(timer);
  }
}

function listen(child: ChildProcessWithoutNullStreams, host: string): Promise<End> {
  let [stdout, stderr, isHello] = ['', '', false];
  child.stdin.on('error', () => undefined);
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (stderr.length < MOST_CHARACTERS) stderr += text;
  });
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (stdout.length < MOST_CHARACTERS) stdout += text;
    if (isHello || !stdout.includes('\n')) return;
    isHello = isHelloOf(stdout.slice(0, stdout.indexOf('\n')), host);
    // The gate goes when nobody asks for more.
    child.stdin.end();
  });
  const end = (otherwise: string): End => ({
    isHello,
    stdout,
    said: `${stdout}${stderr}`.trim() || otherwise,
  });
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(end(error.message)));
    child.once('close', (status) => resolve(end(`ssh ended with ${status ?? 'a signal'}`)));
  });
}

function isHelloOf(line: string, host: string): boolean {
  try {
    const event = parseGateEvent(line);
    return event.event === 'hello' && event.host === host;
  } catch (error) {
    if (error instanceof ProtocolError) return false;
    throw error;
  }
}

/** sshd tells the reason of a refusal to its log alone. */
function sshdSays(machine: Machine, since: number): string {
  if (machine.find('journalctl') !== undefined) {
    const names = ['sshd', 'sshd-session', 'sudo'].flatMap((name) => ['-t', name]);
    const { stdout } = machine.run([
      'journalctl',
      '-q',
      '--no-pager',
      '-o',
      'cat',
      '-n',
      '8',
      '--since',
      `@${since}`,
      ...names,
    ]);
    if (stdout.trim() !== '') return stdout.trim();
  }
  const file = ['/var/log/auth.log', '/var/log/secure'].find(
    (path) => machine.run(['test', '-f', path]).status === 0,
  );
  return file === undefined ? '' : machine.run(['tail', '-n', '5', file]).stdout.trim();
}

function failed(said: string, log: string): HostError {
  const words = [
    plainText(said),
    ...log
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => `  ${plainText(line)}`),
  ];
  return new HostError(
    'self-test-failed',
    `this host's own login did not reach its gate: ${words.join('\n')}`,
  );
}
