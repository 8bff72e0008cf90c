import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatCertificateLine } from '@beacon/ssh/certificate';
import { formatPrivateKey, type GeneratedKeyType, generateKey } from '@beacon/ssh/key';
import { createHostCa, signHostCertificate } from '@beacon/ssh/sign-certificate';
import { createSigner } from '@beacon/ssh/signature';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openHostKey } from '../src/host-key.ts';
import { type Machine, openMachine } from '../src/index.ts';
import { doorsOf } from '../src/self-test.ts';

const isRoot = process.getuid?.() === 0;
const ALGORITHMS = 'ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com,ssh-ed25519';

(isRoot ? describe : describe.skip)('the key by which a host speaks for itself', () => {
  let folder: string;
  let settings: string[];
  let machine: Machine;
  beforeEach(() => {
    folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-host-key-'));
    mkdirSync(join(folder, 'etc/ssh'), { recursive: true });
    settings = [`hostkeyalgorithms ${ALGORITHMS}`];
    // What sshd -T would print.
    const run = () => ({ status: 0, stdout: `${settings.join('\n')}\n`, stderr: '' });
    machine = { ...openMachine(folder), run };
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const add = async (name: string, type: GeneratedKeyType): Promise<string> => {
    const path = `/etc/ssh/${name}`;
    writeFileSync(join(folder, path), await formatPrivateKey(generateKey(type).privateKey), { mode: 0o600 });
    settings.push(`hostkey ${path}`);
    return path;
  };

  test('is the best of those that sshd uses', async () => {
    await add('rsa', 'ssh-rsa');
    await add('ecdsa', 'ecdsa-sha2-nistp256');
    const best = await add('ed25519', 'ssh-ed25519');
    expect(await openHostKey(machine)).toMatchObject({
      path: best,
      signer: { publicKey: { type: 'ssh-ed25519' } },
    });
  });

  test('is the one that the host enrolled with, whatever came later', async () => {
    const path = await add('ecdsa', 'ecdsa-sha2-nistp256');
    const { signer } = await openHostKey(machine);
    const ca = createHostCa(createSigner(generateKey('ssh-ed25519').privateKey));
    const life = { validAfter: 1n, validBefore: 2n };
    const fields = {
      publicKey: signer.publicKey,
      serial: 1n,
      keyId: 'beacon/host/a',
      principals: ['a'],
      ...life,
    };
    mkdirSync(join(folder, 'etc/beacon'));
    const line = formatCertificateLine(await signHostCertificate(fields, ca, Buffer.alloc(32, 1)));
    writeFileSync(join(folder, 'etc/beacon/host-cert.pub'), `${line}\n`);
    await add('ed25519', 'ssh-ed25519');
    expect((await openHostKey(machine)).path).toBe(path);
  });

  test('is one whose certificate sshd may show', async () => {
    settings = ['hostkeyalgorithms ecdsa-sha2-nistp256-cert-v01@openssh.com'];
    await add('ed25519', 'ssh-ed25519');
    const path = await add('ecdsa', 'ecdsa-sha2-nistp256');
    expect((await openHostKey(machine)).path).toBe(path);
  });

  test.each([
    ['is not there', 'it is not there', () => settings.push('hostkey /etc/ssh/none')],
    [
      'may be read by others',
      'others than root can read it',
      async () => chmodSync(join(folder, await add('key', 'ssh-ed25519')), 0o644),
    ],
    [
      'is in another form',
      'this is no OpenSSH private key file',
      async () =>
        writeFileSync(join(folder, await add('key', 'ssh-ed25519')), '-----BEGIN EC PRIVATE KEY-----\n'),
    ],
  ])('is refused where it %s, with the reason and what to do', async (_what, said, make) => {
    await make();
    await expect(openHostKey(machine)).rejects.toMatchObject({
      code: 'host-key-missing',
      message: expect.stringMatching(new RegExp(`${said}.*ssh-keygen -A`)),
    });
  });

  test('is refused where sshd names none', async () => {
    await expect(openHostKey(machine)).rejects.toMatchObject({ code: 'host-key-missing' });
  });
});

test('sshd is found where sshd -T says that it listens', () => {
  const settings = new Map([
    ['listenaddress', ['[::]:22', '0.0.0.0:2222', '192.0.2.7:22', '[2001:db8::7]:22', 'what is this']],
  ]);
  expect(doorsOf(settings)).toEqual([
    { address: '::1', port: 22 },
    { address: '127.0.0.1', port: 2222 },
    { address: '192.0.2.7', port: 22 },
    { address: '2001:db8::7', port: 22 },
  ]);
});
