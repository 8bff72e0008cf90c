import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createAgentSigner, listIdentities, signWithAgent } from '../src/agent-client.ts';
import { encodeAgentResponse } from '../src/agent-message.ts';
import { type PublicKey, parsePublicKeyLine } from '../src/public-key.ts';
import { verifySignature } from '../src/signature.ts';
import { Writer } from '../src/wire.ts';

const data = Buffer.from('data');
let directory: string;
let agentPid: number;
let socketPath: string;
const keys = new Map<string, PublicKey>();

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'agent-client-'));
  socketPath = join(directory, 'agent.sock');
  const announced = execFileSync('ssh-agent', ['-a', socketPath], { encoding: 'utf8' });
  agentPid = Number(/SSH_AGENT_PID=(\d+)/.exec(announced)?.[1]);
  for (const type of ['ed25519', 'ecdsa', 'rsa']) {
    const file = join(directory, type);
    execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', `the ${type} key`, '-f', file]);
    execFileSync('ssh-add', ['-q', file], { env: { SSH_AUTH_SOCK: socketPath, PATH: process.env['PATH'] } });
    keys.set(type, parsePublicKeyLine(readFileSync(`${file}.pub`, 'utf8')).key);
  }
});
afterAll(() => {
  process.kill(agentPid);
  rmSync(directory, { recursive: true, force: true });
});

const keyOf = (type: string): PublicKey => {
  const key = keys.get(type);
  if (key === undefined) throw new Error(`no ${type} key was made`);
  return key;
};

/** An agent that says `bytes`, whatever it is asked. */
async function withLiar<T>(
  bytes: Buffer | undefined,
  action: (socketPath: string) => Promise<T>,
): Promise<T> {
  const path = join(directory, 'liar.sock');
  const server: Server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', () => {
      if (bytes?.length === 0) socket.end();
      else if (bytes !== undefined) socket.write(bytes);
    });
    server.once('stop', () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  try {
    return await action(path);
  } finally {
    server.emit('stop');
    await new Promise((resolve) => server.close(resolve));
  }
}

describe('against the real ssh-agent', () => {
  test('lists what it holds', async () => {
    const listed = await listIdentities(socketPath);
    expect(listed.map(({ comment }) => comment)).toEqual(['the ed25519 key', 'the ecdsa key', 'the rsa key']);
    expect(listed.map(({ blob }) => blob)).toEqual(
      ['ed25519', 'ecdsa', 'rsa'].map((type) => keyOf(type).blob),
    );
  });

  test.each(['ed25519', 'ecdsa', 'rsa'])('signs with its %s key', async (type) => {
    const signer = createAgentSigner(socketPath, keyOf(type));
    const signature = await signer.sign(data);
    expect(verifySignature(keyOf(type), data, signature)).toBe(
      type === 'rsa' ? 'rsa-sha2-512' : keyOf(type).type,
    );
  });

  test('signs with the RSA hash that is asked for', async () => {
    const signature = await createAgentSigner(socketPath, keyOf('rsa')).sign(data, 'rsa-sha2-256');
    expect(verifySignature(keyOf('rsa'), data, signature)).toBe('rsa-sha2-256');
  });

  test('a signature with SHA-1 is what flags of zero give, and is not hidden', async () => {
    const signature = await signWithAgent(socketPath, keyOf('rsa').blob, data, 0);
    expect(() => verifySignature(keyOf('rsa'), data, signature)).toThrow(
      expect.objectContaining({ code: 'signature-sha1' }),
    );
  });

  test('says so when the agent does not hold the key', async () => {
    const unknown = Buffer.from(keyOf('ed25519').blob);
    unknown[unknown.length - 1] = (unknown.at(-1) ?? 0) ^ 1;
    await expect(signWithAgent(socketPath, unknown, data, 0)).rejects.toMatchObject({
      code: 'agent-refused',
    });
  });
});

describe('against what is no agent', () => {
  test('a missing socket is unavailable', async () => {
    expect(existsSync(join(directory, 'nothing'))).toBe(false);
    await expect(listIdentities(join(directory, 'nothing'))).rejects.toMatchObject({
      code: 'agent-unavailable',
    });
  });

  test('silence ends with the time-out', async () => {
    await withLiar(undefined, (path) =>
      expect(listIdentities(path, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'agent-unavailable' }),
    );
  });

  const identities = encodeAgentResponse({ kind: 'identities', identities: [] });
  test.each([
    ['hangs up', Buffer.alloc(0), 'agent-unavailable'],
    ['sends an endless frame', Buffer.alloc(8, 0xff), 'agent-malformed'],
    ['sends an empty frame', Buffer.alloc(4), 'agent-malformed'],
    ['sends two answers', Buffer.concat([identities, identities]), 'agent-malformed'],
    ['sends half an answer more', Buffer.concat([identities, Buffer.alloc(2)]), 'agent-malformed'],
    ['sends an unknown answer', new Writer().string(Buffer.from([99])).toBuffer(), 'agent-malformed'],
    ['sends a cut answer', new Writer().string(Buffer.from([12, 0, 0])).toBuffer(), 'wire-truncated'],
    ['refuses', encodeAgentResponse({ kind: 'failure' }), 'agent-refused'],
    ['answers another question', encodeAgentResponse({ kind: 'success' }), 'agent-refused'],
  ])('one that %s', async (_, bytes, code) => {
    await withLiar(bytes, (path) =>
      expect(listIdentities(path, { timeoutMs: 5_000 })).rejects.toMatchObject({ code }),
    );
  });

  test('a signer refuses a signature that is not by its key over its data', async () => {
    const other = await createAgentSigner(socketPath, keyOf('ed25519')).sign(Buffer.from('other data'));
    await withLiar(encodeAgentResponse({ kind: 'signature', signature: other }), (path) =>
      expect(createAgentSigner(path, keyOf('ed25519')).sign(data)).rejects.toMatchObject({
        code: 'signature-wrong',
      }),
    );
  });
});
