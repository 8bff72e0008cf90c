import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import {
  type Agent,
  createHostCa,
  createSigner,
  createUserCa,
  encodeKrl,
  formatCertificateLine,
  formatKnownHost,
  formatPrincipalsLine,
  formatPublicKeyLine,
  openAgent,
  type PrincipalsLine,
  parsePublicKeyLine,
  type Signer,
  signHostCertificate,
  signUserCertificate,
} from '@beacon/ssh';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { freePort } from '../demo/free-port.ts';

const HOST = 'build-01';
const LOGIN = userInfo().username;
const PRINCIPAL = `web@${HOST}`;
const SSHD = '/usr/sbin/sshd';

const newSigner = (pair: { privateKey: KeyObject }): Signer => createSigner(pair.privateKey);
const userCa = createUserCa(newSigner(generateKeyPairSync('ed25519')));
const hostCa = createHostCa(newSigner(generateKeyPairSync('ed25519')));
const now = BigInt(Math.floor(Date.now() / 1000));

let directory: string;
let sshd: ChildProcess | undefined;
let port: number;
let log = '';
let serial = 0n;

const file = (name: string): string => join(directory, name);
const writePrincipals = (line: PrincipalsLine): void =>
  writeFileSync(file('principals'), `${formatPrincipalsLine(line)}\n`);
const writeRevocations = (...serials: bigint[]): void =>
  writeFileSync(
    file('krl'),
    encodeKrl({
      version: 1n,
      generated: new Date(),
      comment: '',
      authorities: [{ ca: userCa.publicKey, serials, keyIds: [] }],
    }),
  );

/** A fresh certificate for this signer's key, alone in an agent. */
async function openAgentFor(signer: Signer): Promise<Agent> {
  serial += 1n;
  const blob = await signUserCertificate(
    {
      publicKey: signer.publicKey,
      serial,
      keyId: `beacon/test/${serial}`,
      principals: [PRINCIPAL],
      validAfter: now - 60n,
      validBefore: now + 600n,
    },
    userCa,
    randomBytes(32),
  );
  return openAgent({ identities: [{ blob, comment: 'certificate', signer }] });
}

function ssh(agent: Agent, command: string): Promise<{ status: number; stdout: string; stderr: string }> {
  const options = {
    BatchMode: 'yes',
    GlobalKnownHostsFile: '/dev/null',
    HostKeyAlias: HOST,
    IdentityAgent: agent.socketPath,
    IdentityFile: 'none',
    StrictHostKeyChecking: 'yes',
    UserKnownHostsFile: file('known_hosts'),
  };
  const args = ['-v', '-F', 'none', '-p', String(port), `${LOGIN}@127.0.0.1`];
  for (const [name, value] of Object.entries(options)) {
    args.unshift('-o', `${name}=${value}`);
  }
  return new Promise((resolve) => {
    execFile(
      'ssh',
      [...args, command],
      { env: { PATH: process.env['PATH'] }, timeout: 20_000 },
      (error, stdout, stderr) => {
        resolve({
          status: error === null ? 0 : typeof error.code === 'number' ? error.code : -1,
          stdout,
          stderr,
        });
      },
    );
  });
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'agent-e2e-'));
  mkdirSync('/run/sshd', { recursive: true });
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file('host_key')]);
  const { key } = parsePublicKeyLine(readFileSync(file('host_key.pub'), 'utf8'));
  const hostCertificate = await signHostCertificate(
    {
      publicKey: key,
      serial: 1n,
      keyId: `beacon/host/${HOST}`,
      principals: [HOST],
      validAfter: now - 60n,
      validBefore: now + 600n,
    },
    hostCa,
    randomBytes(32),
  );
  writeFileSync(file('host_key-cert.pub'), `${formatCertificateLine(hostCertificate)}\n`);
  writeFileSync(file('user_ca.pub'), `${formatPublicKeyLine(userCa.publicKey)}\n`);
  const known = formatKnownHost({ host: HOST, port: 22, key: hostCa.publicKey, isAuthority: true });
  writeFileSync(file('known_hosts'), `${known}\n`);
  writePrincipals({ principal: PRINCIPAL, restrict: false });
  writeRevocations();
  port = await freePort();
  const configuration = {
    ListenAddress: `127.0.0.1:${port}`,
    HostKey: file('host_key'),
    HostCertificate: file('host_key-cert.pub'),
    TrustedUserCAKeys: file('user_ca.pub'),
    AuthorizedPrincipalsFile: file('principals'),
    RevokedKeys: file('krl'),
    AuthorizedKeysFile: 'none',
    PasswordAuthentication: 'no',
    KbdInteractiveAuthentication: 'no',
    PermitRootLogin: 'prohibit-password',
    StrictModes: 'no',
    UsePAM: 'no',
    PidFile: 'none',
    LogLevel: 'VERBOSE',
  };
  writeFileSync(
    file('sshd_config'),
    Object.entries(configuration)
      .map(([name, value]) => `${name} ${value}\n`)
      .join(''),
  );
  const started = spawn(SSHD, ['-D', '-e', '-f', file('sshd_config')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  sshd = started;
  await new Promise<void>((resolve, reject) => {
    started.once('error', reject);
    started.once('exit', () => reject(new Error(`sshd has ended: ${log}`)));
    started.stderr.on('data', (chunk: Buffer) => {
      log += chunk.toString();
      if (log.includes('Server listening')) resolve();
    });
  });
});
afterAll(() => {
  sshd?.removeAllListeners('exit');
  sshd?.kill();
  rmSync(directory, { recursive: true, force: true });
});

describe('a login through the agent in this process', () => {
  const pairs: [string, () => { privateKey: KeyObject }][] = [
    ['Ed25519', () => generateKeyPairSync('ed25519')],
    ['ECDSA P-256', () => generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['ECDSA P-521', () => generateKeyPairSync('ec', { namedCurve: 'P-521' })],
    ['RSA', () => generateKeyPairSync('rsa', { modulusLength: 3072 })],
  ];
  test.each(pairs)('works with an %s key that touches no disk', async (_, makePair) => {
    const agent = await openAgentFor(newSigner(makePair()));
    try {
      expect(await ssh(agent, 'echo in')).toMatchObject({ status: 0, stdout: 'in\n' });
      expect(log).toContain(`ID beacon/test/${serial} (serial ${serial})`);
    } finally {
      await agent.close();
    }
  });

  test('is bound to its connection, and works no more once the agent is closed', async () => {
    const agent = await openAgentFor(newSigner(generateKeyPairSync('ed25519')));
    const { stderr } = await ssh(agent, 'true');
    expect(stderr).toContain('bound agent to hostkey');
    await agent.close();
    expect(await ssh(agent, 'true')).toMatchObject({ status: 255 });
  });

  test('runs the forced command of the principals line, quotes and backslashes as they were meant', async () => {
    const agent = await openAgentFor(newSigner(generateKeyPairSync('ed25519')));
    const command = `printf '%s|' "a b" '\\"' 'c, d'; echo "$SSH_ORIGINAL_COMMAND"`;
    writePrincipals({ principal: PRINCIPAL, restrict: true, command });
    try {
      expect(await ssh(agent, 'asked for')).toMatchObject({ status: 0, stdout: 'a b|\\"|c, d|asked for\n' });
      // sshd cuts a principals line at the first #, also inside quotes; therefore we refuse to write one.
      writeFileSync(file('principals'), `command="echo a # b" ${PRINCIPAL}\n`);
      expect(await ssh(agent, 'true')).toMatchObject({ status: 255 });
    } finally {
      writePrincipals({ principal: PRINCIPAL, restrict: false });
      await agent.close();
    }
  });

  test('K5: fails once its serial is on our list, and works while only others are', async () => {
    const agent = await openAgentFor(newSigner(generateKeyPairSync('ed25519')));
    try {
      writeRevocations(serial + 1n, serial + 100n);
      expect(await ssh(agent, 'true')).toMatchObject({ status: 0 });
      writeRevocations(serial);
      expect(await ssh(agent, 'true')).toMatchObject({ status: 255 });
      expect(log).toContain('revoked by file');
    } finally {
      writeRevocations();
      await agent.close();
    }
  });
});
