/** Keys in an SSH agent: what the CA does when the agent lacks them, is gone, comes back, or answers rubbish. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeAgentRequest, encodeAgentResponse, FrameCollector } from '@beacon/ssh/agent-message';
import { formatPrivateKey, generateKey } from '@beacon/ssh/key';
import { fingerprint, formatPublicKeyLine, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { createSigner } from '@beacon/ssh/signature';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { RealAgent } from '../../../infra/e2e/ssh-agent.ts';
import { type CaConfiguration, caConfiguration } from '../src/configuration.ts';
import { makeTokenKeyFile, publicTokenKey, readCaKeys } from '../src/keys.ts';
import { type LoggedIn, refusal, SmallCa } from './small-ca.ts';

let folder: string;
let agent: RealAgent;
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'beacon-keys-'));
  for (const name of ['user', 'host', 'absent']) {
    const { privateKey, publicKey } = generateKey('ssh-ed25519');
    writeFileSync(at(name), await formatPrivateKey(privateKey, { comment: name }), { mode: 0o600 });
    writeFileSync(at(`${name}.pub`), `${formatPublicKeyLine(publicKey, name)}\n`);
  }
  const tokens = generateKey('ssh-ed25519').privateKey.export({ format: 'jwk' });
  writeFileSync(at('tokens.jwk'), JSON.stringify({ ...tokens, kid: 'tokens-1' }), { mode: 0o600 });
  writeFileSync(at('sealing'), Buffer.alloc(32, 7).toString('base64'), { mode: 0o600 });
  agent = new RealAgent(folder);
});
afterEach(() => agent.stop());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const fill = () => {
  for (const name of ['user', 'host']) agent.addFile(at(name));
};

function settings(change: Partial<CaConfiguration['keys']> = {}): CaConfiguration['keys'] {
  return {
    user_ca: { agent: at('user.pub') },
    host_ca: { agent: at('host.pub') },
    token_signing: at('tokens.jwk'),
    token_former: [],
    sealing: at('sealing'),
    ...change,
  };
}

describe('opening', () => {
  test('finds both keys in the agent that the configuration, else the environment, names', async () => {
    await agent.start();
    fill();
    const keys = await readCaKeys(settings(), agent.socket);
    const named = await readCaKeys(settings({ agent_socket: agent.socket }), '/nowhere');
    for (const { userCa, hostCa } of [keys, named]) {
      expect(userCa.publicKey).toEqual(publicKey('user'));
      expect(hostCa.publicKey).toEqual(publicKey('host'));
    }
  });

  test('refuses when the agent lacks the key, and names the key and what to type', async () => {
    await agent.start();
    fill();
    const opening = readCaKeys(settings({ host_ca: { agent: at('absent.pub') } }), agent.socket);
    await expect(opening).rejects.toMatchObject({ code: 'keys' });
    await expect(opening).rejects.toThrow(fingerprint(publicKey('absent')));
    await expect(opening).rejects.toThrow(/absent\.pub.*ssh-add/s);
  });

  test.each([
    ['no agent is named', '', /agent_socket.*SSH_AUTH_SOCK/],
    ['no agent answers', '/nowhere/agent.sock', /\/nowhere\/agent\.sock/],
  ])('refuses when %s', async (_, socket, text) => {
    await expect(readCaKeys(settings(), socket)).rejects.toMatchObject({ code: 'keys' });
    await expect(readCaKeys(settings(), socket)).rejects.toThrow(text);
  });

  test('refuses one key for both, and a file that is no public key', async () => {
    await agent.start();
    fill();
    const same = settings({ host_ca: { agent: at('user.pub') } });
    await expect(readCaKeys(same, agent.socket)).rejects.toMatchObject({ code: 'keys' });
    const secret = settings({ host_ca: { agent: at('host') } });
    await expect(readCaKeys(secret, agent.socket)).rejects.toThrow(/not a public key/);
  });

  test.each([
    [{ file: 'a' }],
    [{ agent: 'a.pub', file: 'a' }],
    [{ agent: 'a.pub', passphrase_file: 'a' }],
    [{}],
  ])('takes either a file with its passphrase or an agent in the configuration, not %j', (source) => {
    const shape = caConfiguration.shape.keys.shape.user_ca;
    expect(shape.safeParse(source).success).toBe(false);
    expect(shape.parse({ agent: 'a.pub' })).toEqual({ agent: 'a.pub' });
    expect(shape.parse({ file: 'a', passphrase_file: 'b' })).toEqual({ file: 'a', passphrase_file: 'b' });
  });
});

describe('the keys for tokens', () => {
  const until = '2026-01-31T12:00:00Z';
  const publicHalf = (name: string, change: object = {}) => {
    const file = at(`${name}.pub.jwk`);
    writeFileSync(file, JSON.stringify({ ...publicTokenKey(at(`${name}.jwk`)), ...change }));
    return file;
  };
  beforeAll(async () => {
    for (const name of ['second', 'third']) await makeTokenKeyFile(at(`${name}.jwk`));
  });
  beforeEach(async () => {
    await agent.start();
    fill();
  });

  test('T7: beside the key that signs are read, without their private half', async () => {
    const named = settings({
      token_next: publicHalf('second'),
      token_former: [{ file: publicHalf('third'), until }],
    });
    const { otherTokens } = await readCaKeys(named, agent.socket);
    expect(otherTokens).toEqual([
      { jwk: publicTokenKey(at('second.jwk')) },
      { jwk: publicTokenKey(at('third.jwk')), until: new Date(until) },
    ]);
    expect(statSync(at('second.jwk')).mode & 0o777).toBe(0o600);
    await expect(makeTokenKeyFile(at('second.jwk'))).rejects.toMatchObject({ code: 'keys' });
  });

  test.each<[string, () => string, RegExp]>([
    ['is a private key', () => at('second.jwk'), /private key.*token-key/],
    ['is the key that signs', () => publicHalf('tokens'), /once/],
    [
      'has the kid of the key that signs',
      () => publicHalf('second', { kid: publicTokenKey(at('tokens.jwk')).kid }),
      /once/,
    ],
    ['has no kid', () => publicHalf('second', { kid: undefined }), /not a public Ed25519/],
    ['is of another kind', () => publicHalf('second', { crv: 'X25519' }), /not a public Ed25519/],
    ['is not there', () => at('nowhere'), /cannot be read/],
  ])('T7: one that %s is refused', async (_, file, text) => {
    for (const change of [{ token_next: file() }, { token_former: [{ file: file(), until }] }]) {
      const reading = readCaKeys(settings(change), agent.socket);
      await expect(reading).rejects.toMatchObject({ code: 'keys' });
      await expect(reading).rejects.toThrow(text);
    }
  });

  test('T7: a former one needs the time at which it was replaced', () => {
    const shape = caConfiguration.shape.keys.shape.token_former;
    expect(shape.safeParse([{ file: 'a' }]).success).toBe(false);
    expect(shape.safeParse([{ file: 'a', until: 'yesterday' }]).success).toBe(false);
    expect(shape.parse([{ file: 'a', until }])).toEqual([{ file: 'a', until }]);
  });
});

describe('a CA whose keys are in an agent', () => {
  let ca: SmallCa;
  let lin: LoggedIn;
  let ada: LoggedIn;

  beforeAll(async () => {
    await agent.start();
    fill();
    ca = await SmallCa.start({ keys: await readCaKeys(settings(), agent.socket) });
    lin = await ca.login('lin');
    ada = await ca.login('ada');
  });
  afterAll(() => ca.close());

  test('issues nothing while the agent is gone or without its key, and goes on when it is back', async () => {
    const before = await ca.serials();
    await agent.stop();
    const gone = await ca.sign(lin);
    expect(refusal(gone)).toEqual({ status: 503, code: 'signer-unavailable' });
    expect(gone.text).not.toContain(folder);
    expect(await ca.lastRecord()).toMatchObject({ kind: 'refused', facts: { code: 'signer-unavailable' } });
    expect(refusal(await ca.addHost(ada, 'new-01'))).toEqual({ status: 503, code: 'signer-unavailable' });
    expect((await ca.ask(ada, 'GET', '/v1/hosts')).text).not.toContain('new-01');

    await agent.start();
    expect(refusal(await ca.sign(lin))).toEqual({ status: 503, code: 'signer-unavailable' });
    expect(await ca.serials()).toEqual(before);

    fill();
    expect((await ca.sign(lin)).status).toBe(201);
    expect((await ca.addHost(ada, 'new-01')).status).toBe(201);
    expect((await ca.serials()).length).toBe(before.length + 2);
    expect(await ca.verifyChain()).toMatchObject({ ok: true });
  });

  test('hands out no certificate whose signature the agent made wrongly', async () => {
    const wrong = await startWrongAgent(agent.socket);
    try {
      const issued = ca.issued.length;
      expect(refusal(await ca.sign(lin))).toEqual({ status: 503, code: 'signer-unavailable' });
      expect(await ca.lastRecord()).toMatchObject({ kind: 'refused', facts: { code: 'signer-unavailable' } });
      expect(ca.issued.length).toBe(issued);
    } finally {
      await new Promise((resolve) => wrong.close(resolve));
    }
  });

  test('a denied person learns of the denial, not of the agent', async () => {
    const mallory = await ca.login('mallory');
    expect(refusal(await ca.sign(mallory))).toEqual({ status: 403, code: 'policy-denied' });
  });
});

function publicKey(name: string) {
  return parsePublicKeyLine(readFileSync(at(`${name}.pub`), 'utf8')).key;
}

/** An agent that holds the keys and signs something else than it is asked to. */
async function startWrongAgent(socketPath: string): Promise<Server> {
  rmSync(socketPath, { force: true });
  const stranger = createSigner(generateKey('ssh-ed25519').privateKey);
  const server = createServer((socket) => {
    const frames = new FrameCollector();
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      for (const message of frames.push(chunk)) {
        const asked = decodeAgentRequest(message);
        const identities = ['user', 'host'].map((name) => ({ blob: publicKey(name).blob, comment: name }));
        socket.write(
          asked.kind === 'sign'
            ? encodeAgentResponse({ kind: 'signature', signature: stranger.sign(asked.data) as Buffer })
            : encodeAgentResponse({ kind: 'identities', identities }),
        );
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  return server;
}
