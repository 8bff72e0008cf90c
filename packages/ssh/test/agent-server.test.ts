import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { listIdentities, signWithAgent } from '../src/agent-client.ts';
import { encodeAgentRequest, FLAG_RSA_SHA2_256, FLAG_RSA_SHA2_512 } from '../src/agent-message.ts';
import { type Agent, type AgentIdentity, openAgent } from '../src/agent-server.ts';
import { formatPublicKeyLine } from '../src/public-key.ts';
import { createSigner, type Signer, verifySignature } from '../src/signature.ts';
import { Writer } from '../src/wire.ts';

const signers: Record<'ed25519' | 'ecdsa' | 'rsa', Signer> = {} as never;
const make = (pair: { privateKey: KeyObject }): Signer => createSigner(pair.privateKey);
beforeAll(() => {
  signers.ed25519 = make(generateKeyPairSync('ed25519'));
  signers.ecdsa = make(generateKeyPairSync('ec', { namedCurve: 'P-256' }));
  signers.rsa = make(generateKeyPairSync('rsa', { modulusLength: 3072 }));
});

const opened: Agent[] = [];
const open = async (...identities: AgentIdentity[]): Promise<Agent> => {
  const agent = await openAgent({ identities });
  opened.push(agent);
  return agent;
};
afterEach(async () => {
  await Promise.all(opened.splice(0).map((agent) => agent.close()));
});
const identity = (signer: Signer, comment = 'beacon'): AgentIdentity => ({
  blob: signer.publicKey.blob,
  comment,
  signer,
});
const sshAdd = async (agent: Agent, ...args: string[]): Promise<{ status: number; text: string }> => {
  try {
    const { stdout, stderr } = await promisify(execFile)('ssh-add', args, {
      env: { PATH: process.env['PATH'], SSH_AUTH_SOCK: agent.socketPath },
      timeout: 10_000,
    });
    return { status: 0, text: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, text: stdout + stderr };
  }
};
/** What the agent sends back: until it hangs up, has given so many answers, or is silent for a while where neither is known. */
const talk = (
  agent: Agent,
  bytes: Buffer,
  awaited: number | 'end' | 'whatever',
): Promise<{ answer: Buffer; isEnded: boolean }> =>
  new Promise((resolve) => {
    const socket = createConnection(agent.socketPath);
    const chunks: Buffer[] = [];
    const finish = (isEnded: boolean) => (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ answer: Buffer.concat(chunks), isEnded });
    };
    let timer = awaited === 'whatever' ? setTimeout(finish(false), 150) : undefined;
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      // It may hang up after the last of them all the same.
      if (timer === undefined && countAnswers(Buffer.concat(chunks)) === awaited)
        timer = setTimeout(finish(false), 50);
    });
    socket.on('error', finish(true));
    socket.on('close', finish(true));
    socket.write(bytes);
  });
const countAnswers = (bytes: Buffer): number =>
  bytes.length < 4 ? 0 : 1 + countAnswers(bytes.subarray(4 + bytes.readUInt32BE(0)));
const message = (...bytes: number[]): Buffer => new Writer().string(Buffer.from(bytes)).toBuffer();
const FAILURE = message(5);

describe('openAgent', () => {
  test('ssh-add -l and -L list its identities', async () => {
    const agent = await open(identity(signers.ed25519, 'one'), identity(signers.rsa, 'two'));
    expect(await sshAdd(agent, '-L')).toEqual({
      status: 0,
      text: `${formatPublicKeyLine(signers.ed25519.publicKey, 'one')}\n${formatPublicKeyLine(signers.rsa.publicKey, 'two')}\n`,
    });
    expect((await sshAdd(agent, '-l')).text).toMatch(
      /^256 SHA256:.* one \(ED25519\)\n3072 SHA256:.* two \(RSA\)\n$/,
    );
  });

  test('ssh-add -T finds that each key signs, but not with the SHA-1 that it asks of RSA', async () => {
    const agent = await open(identity(signers.ed25519), identity(signers.ecdsa), identity(signers.rsa));
    const directory = mkdtempSync(join(tmpdir(), 'agent-test-'));
    for (const [name, signer] of Object.entries(signers)) {
      const file = join(directory, `${name}.pub`);
      writeFileSync(file, `${formatPublicKeyLine(signer.publicKey)}\n`);
      expect(await sshAdd(agent, '-T', file)).toMatchObject({ status: name === 'rsa' ? 1 : 0 });
    }
    rmSync(directory, { recursive: true });
  });

  test('ssh-keygen -Y signs with a key that only the agent has', async () => {
    const agent = await open(identity(signers.ed25519));
    const directory = mkdtempSync(join(tmpdir(), 'agent-test-'));
    const file = join(directory, 'key.pub');
    writeFileSync(file, formatPublicKeyLine(signers.ed25519.publicKey));
    writeFileSync(join(directory, 'data'), 'data');
    await promisify(execFile)(
      'ssh-keygen',
      ['-Y', 'sign', '-n', 'test', '-f', file, join(directory, 'data')],
      {
        env: { PATH: process.env['PATH'], SSH_AUTH_SOCK: agent.socketPath },
      },
    );
    const check = spawnSync(
      'ssh-keygen',
      ['-Y', 'check-novalidate', '-n', 'test', '-s', join(directory, 'data.sig')],
      { input: 'data' },
    );
    expect(check.status).toBe(0);
    rmSync(directory, { recursive: true });
  });

  test('adding, removing and locking are refused', async () => {
    const agent = await open(identity(signers.ed25519));
    const directory = mkdtempSync(join(tmpdir(), 'agent-test-'));
    const file = join(directory, 'key');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file]);
    expect((await sshAdd(agent, file)).status).not.toBe(0);
    expect((await sshAdd(agent, '-D')).status).not.toBe(0);
    expect((await sshAdd(agent, '-d', `${file}.pub`)).status).not.toBe(0);
    for (const number of [1, 17, 18, 19, 20, 21, 22, 23, 25, 26, 30, 255]) {
      expect(await talk(agent, message(number, 0, 0, 0, 0), 1)).toEqual({ answer: FAILURE, isEnded: false });
    }
    expect(await listIdentities(agent.socketPath)).toHaveLength(1);
    rmSync(directory, { recursive: true });
  });

  test('an RSA key signs with the hash that is asked for, never with SHA-1 or an unknown flag', async () => {
    const agent = await open(identity(signers.rsa));
    const { publicKey } = signers.rsa;
    const data = Buffer.from('data');
    const sign = (flags: number): Promise<Buffer> =>
      signWithAgent(agent.socketPath, publicKey.blob, data, flags);
    expect(verifySignature(publicKey, data, await sign(FLAG_RSA_SHA2_256))).toBe('rsa-sha2-256');
    expect(verifySignature(publicKey, data, await sign(FLAG_RSA_SHA2_512))).toBe('rsa-sha2-512');
    for (const flags of [0, 1, 6, 8, 0x8000_0000]) {
      await expect(sign(flags)).rejects.toMatchObject({ code: 'agent-refused' });
    }
  });

  test('refuses to sign with a key that it does not hold, and when its signer fails', async () => {
    const broken: Signer = {
      publicKey: signers.ecdsa.publicKey,
      sign: () => Promise.reject(new Error('the key is away')),
    };
    const agent = await open(identity(signers.ed25519), identity(broken));
    const data = Buffer.from('data');
    for (const { publicKey } of [signers.rsa, broken]) {
      await expect(signWithAgent(agent.socketPath, publicKey.blob, data, 0)).rejects.toMatchObject({
        code: 'agent-refused',
      });
    }
    expect(await listIdentities(agent.socketPath)).toHaveLength(2);
  });

  test('accepts a session binding, serves nothing on a forwarded connection, and refuses other extensions', async () => {
    const agent = await open(identity(signers.ed25519));
    const bind = (isForwarded: boolean): Buffer =>
      encodeAgentRequest({
        kind: 'extension',
        name: 'session-bind@openssh.com',
        content: new Writer().string('key').string('id').string('signature').boolean(isForwarded).toBuffer(),
      });
    const list = encodeAgentRequest({ kind: 'request-identities' });
    const direct = await talk(agent, Buffer.concat([bind(false), list]), 2);
    expect(direct.answer.subarray(0, 5)).toEqual(message(6));
    expect(direct.answer[9]).toBe(12);
    expect(await talk(agent, Buffer.concat([bind(true), list]), 2)).toEqual({
      answer: Buffer.concat([FAILURE, FAILURE]),
      isEnded: false,
    });
    const query = encodeAgentRequest({ kind: 'extension', name: 'query', content: Buffer.alloc(0) });
    expect(await talk(agent, query, 1)).toEqual({ answer: FAILURE, isEnded: false });
    const empty = encodeAgentRequest({
      kind: 'extension',
      name: 'session-bind@openssh.com',
      content: Buffer.alloc(0),
    });
    expect(await talk(agent, empty, 'end')).toMatchObject({ isEnded: true });
  });

  test('answers pipelined requests in their order', async () => {
    const slow: Signer = {
      publicKey: signers.ed25519.publicKey,
      sign: async (data) => {
        await new Promise((resolve) => setTimeout(resolve, 30));
        return signers.ed25519.sign(data);
      },
    };
    const agent = await open(identity(slow));
    const sign = encodeAgentRequest({
      kind: 'sign',
      blob: slow.publicKey.blob,
      data: Buffer.from('x'),
      flags: 0,
    });
    const { answer } = await talk(agent, Buffer.concat([sign, message(19), message(11)]), 3);
    const length = answer.readUInt32BE(0);
    expect(answer[4]).toBe(14);
    expect(answer.subarray(4 + length, 9 + length)).toEqual(FAILURE);
    expect(answer[13 + length]).toBe(12);
  });

  test('hostile frames end their own connection and nothing else', async () => {
    const agent = await open(identity(signers.ed25519));
    const sign = encodeAgentRequest({
      kind: 'sign',
      blob: signers.ed25519.publicKey.blob,
      data: Buffer.from('x'),
      flags: 0,
    });
    for (const hostile of [
      message(),
      Buffer.alloc(64, 0xff),
      message(11, 0),
      message(13),
      message(13, 0xff, 0xff, 0xff, 0xff),
    ]) {
      expect(await talk(agent, hostile, 'end')).toEqual({ answer: Buffer.alloc(0), isEnded: true });
    }
    const flips = Array.from({ length: sign.length * 8 }, (_, bit) => {
      const flipped = Buffer.from(sign);
      flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      return flipped;
    });
    const cuts = Array.from({ length: sign.length }, (_, length) => sign.subarray(0, length));
    const attempts = [...flips, ...cuts];
    for (let at = 0; at < attempts.length; at += 12) {
      const results = await Promise.all(
        attempts.slice(at, at + 12).map((bytes) => talk(agent, bytes, 'whatever')),
      );
      for (const { answer } of results) {
        expect([undefined, 5, 14]).toContain(answer[4]);
      }
    }
    expect(await listIdentities(agent.socketPath)).toHaveLength(1);
  });

  test('its directory is its owner’s alone and goes with close, which may be called again', async () => {
    const agent = await open(identity(signers.ed25519));
    const directory = dirname(agent.socketPath);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(agent.socketPath).mode & 0o777).toBe(0o600);
    const hanging = createConnection(agent.socketPath);
    hanging.on('error', () => undefined);
    await agent.close();
    await agent.close();
    expect(existsSync(directory)).toBe(false);
    hanging.destroy();
  });

  test('its directory goes when the process exits without closing it', () => {
    const parent = mkdtempSync(join(tmpdir(), 'agent-exit-'));
    const source = new URL('../src/agent-server.ts', import.meta.url).href;
    const program = `const { openAgent } = await import(${JSON.stringify(source)});
      await openAgent({ identities: [], directory: ${JSON.stringify(parent)} });
      const { readdirSync } = await import('node:fs');
      console.log(readdirSync(${JSON.stringify(parent)}).length);
      process.exit(0);`;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
    });
    expect(stdout).toBe('1\n');
    expect(readdirSync(parent)).toEqual([]);
    rmSync(parent, { recursive: true });
  });

  test('refuses a directory that is missing or too long for a socket', async () => {
    await expect(openAgent({ identities: [], directory: '/nonexistent' })).rejects.toMatchObject({
      code: 'agent-unavailable',
    });
    const long = join(mkdtempSync(join(tmpdir(), 'agent-long-')));
    const { mkdirSync } = await import('node:fs');
    const deep = join(long, 'd'.repeat(90));
    mkdirSync(deep);
    await expect(openAgent({ identities: [], directory: deep })).rejects.toMatchObject({
      code: 'agent-unavailable',
    });
    expect(readdirSync(deep)).toEqual([]);
    rmSync(long, { recursive: true });
  });
});
