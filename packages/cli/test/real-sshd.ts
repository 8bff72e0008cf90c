/**
 * A real sshd on loopback that trusts nothing but a CA: the current person's Unix account is its one login, opened by a
 * certificate for `<login>@<host id>`, and its own key is vouched for by a host certificate.
 */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { formatCertificateLine } from '@beacon/ssh/certificate';
import { formatPublicKeyLine, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { type HostCa, signHostCertificate, type UserCa } from '@beacon/ssh/sign-certificate';
import { freePort } from '../../../infra/demo/free-port.ts';

export interface RealSshd {
  readonly port: number;
  readonly login: string;
  log(): string;
  stop(): Promise<void>;
}

const SSHD = '/usr/sbin/sshd';

export function hasSshd(): boolean {
  return existsSync(SSHD);
}

export async function startSshd(options: {
  readonly hostId: string;
  readonly userCa: UserCa;
  readonly hostCa: HostCa;
  /** Whether the host shows a certificate, or only its plain key. */
  readonly hostCertificate?: boolean;
}): Promise<RealSshd> {
  const directory = mkdtempSync(join(tmpdir(), 'beacon-sshd-'));
  const file = (name: string) => join(directory, name);
  const login = userInfo().username;
  const port = await freePort();
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file('host_key')]);
  const { key } = parsePublicKeyLine(readFileSync(file('host_key.pub'), 'utf8'));
  const now = BigInt(Math.floor(Date.now() / 1000));
  const blob = await signHostCertificate(
    {
      publicKey: key,
      serial: 1n,
      keyId: `beacon/host/${options.hostId}`,
      principals: [options.hostId],
      validAfter: now - 60n,
      validBefore: now + 3600n,
    },
    options.hostCa,
    randomBytes(32),
  );
  writeFileSync(file('host_key-cert.pub'), `${formatCertificateLine(blob)}\n`);
  writeFileSync(file('user_ca.pub'), `${formatPublicKeyLine(options.userCa.publicKey)}\n`);
  writeFileSync(file('principals'), `${login}@${options.hostId}\n`, { mode: 0o644 });
  writeFileSync(
    file('sshd_config'),
    [
      `ListenAddress 127.0.0.1:${port}`,
      `HostKey ${file('host_key')}`,
      ...(options.hostCertificate === false ? [] : [`HostCertificate ${file('host_key-cert.pub')}`]),
      `TrustedUserCAKeys ${file('user_ca.pub')}`,
      `AuthorizedPrincipalsFile ${file('principals')}`,
      'AuthorizedKeysFile none',
      'AuthenticationMethods publickey',
      'PermitRootLogin prohibit-password',
      'StrictModes no',
      'UsePAM no',
      'LogLevel VERBOSE',
      'PidFile none',
      'Subsystem sftp internal-sftp',
      '',
    ].join('\n'),
  );
  const child = spawn(SSHD, ['-D', '-e', '-f', file('sshd_config')], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  for (let turn = 0; !(await answers(port)); turn++) {
    if (turn > 1_000 || child.exitCode !== null) throw new Error(`sshd does not answer: ${log}`);
    await wait(50);
  }
  return {
    port,
    login,
    log: () => log,
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
