import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { type SmallCa, startSmallCa } from '../../client/test/small-ca.ts';
import { createHome, type Home } from './command.ts';
import { type RealSshd, startSshd } from './real-sshd.ts';

let ca: SmallCa;
let sshd: RealSshd;
let home: Home;

beforeAll(async () => {
  ca = await startSmallCa();
  sshd = await startSshd({ hostId: 'build-01', userCa: ca.userCa, hostCa: ca.hostCa });
  ca.knobs.hosts = [{ id: 'build-01', address: '127.0.0.1', port: sshd.port, logins: [sshd.login] }];
  home = createHome();
  expect((await home.run(['login', ca.url])).status).toBe(0);
  execFileSync('ssh-keygen', [
    '-q',
    '-t',
    'ed25519',
    '-N',
    'a passphrase',
    '-f',
    join(home.directory, 'locked'),
  ]);
});
afterAll(async () => {
  await sshd?.stop();
  await ca?.close();
  home?.remove();
});

function startOnTerminal(args: readonly string[]) {
  const line = [process.execPath, ...home.command(args)].map((word) => `'${word}'`).join(' ');
  return spawn('script', ['-qefc', `stty cols 200 rows 24; exec ${line}`, '/dev/null'], {
    env: { ...home.environment, TERM: 'dumb' },
  });
}

/** Runs the command on a terminal of its own (`script`), and types when it is asked. */
function onTerminal(
  args: readonly string[],
  typed: string,
): Promise<{ status: number | null; seen: string }> {
  const child = startOnTerminal(args);
  let seen = '';
  let asked = false;
  child.stdout.on('data', (text) => {
    seen += text;
    if (asked || !seen.includes('Passphrase of')) return;
    asked = true;
    setTimeout(() => child.stdin.write(typed), 300);
  });
  return new Promise((resolve) => child.once('close', (status) => resolve({ status, seen })));
}

it('asks for the passphrase on the terminal, without showing it', async () => {
  const args = ['ssh', '-T', '-i', join(home.directory, 'locked'), 'build-01', 'echo remote'];
  const { status, seen } = await onTerminal(args, 'a passphrase\r');
  expect(seen).toContain('remote');
  expect(seen).not.toContain('a passphrase');
  expect(status).toBe(0);
});

it('ends when the passphrase is wrong, and when nobody wants to give it', async () => {
  const args = ['ssh', '-i', join(home.directory, 'locked'), 'build-01', 'true'];
  const wrong = await onTerminal(args, 'another\r');
  expect(wrong).toMatchObject({ status: 255, seen: expect.stringContaining('does not open the key file') });
  const stopped = await onTerminal(args, '\u0003');
  expect(stopped).toMatchObject({ status: 255, seen: expect.stringContaining('no passphrase was given') });
});

it('says that there is no terminal where policy gives none', async () => {
  ca.knobs.extensions = {};
  const child = startOnTerminal(['ssh', 'build-01']);
  let seen = '';
  child.stdout.on('data', (text) => {
    seen += text;
    if (seen.includes('permit-pty')) setTimeout(() => child.stdin.write('tty; exit 5\r'), 300);
  });
  const status = await new Promise((resolve) => child.once('close', resolve));
  expect(seen).toContain('policy gives you no terminal here');
  expect(seen).toContain('not a tty');
  expect(status).toBe(5);
});
