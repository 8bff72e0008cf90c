import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals';
import {
  type Keys,
  Lab,
  makeKeys,
  makeProof,
  makeService,
  sha256,
  type Tokens,
} from './authorization-lab.ts';
import { setTime } from './clock.ts';

const portal = await makeService('portal', ['exchange']);
let lab: Lab;
let keys: Keys;
let tokens: Tokens;
let jwt: string;
beforeAll(async () => {
  lab = await Lab.start({ services: [portal.service] });
  keys = await makeKeys();
  const first = await lab.login(keys, 'alice', ['urn:beacon:ca', 'urn:beacon:broker:portal']);
  const forBroker = await lab.refresh(keys, first.refresh, { resource: 'urn:beacon:broker:portal' });
  jwt = String(forBroker.answer['access_token']);
  tokens = { access: first.access, refresh: String(forBroker.answer['refresh_token']), answer: first.answer };
});
afterEach(() => {
  jest.useRealTimers();
});
afterAll(() => lab.close());

test('tells the person, the session and the service of a token with its proof', async () => {
  const { status, answer } = await lab.whoami(keys, tokens.access, {
    body: '{"v":1}',
    claims: { key_proof: 'c2ln' },
  });
  expect(status).toBe(200);
  expect(answer).toMatchObject({
    person: 'github:583231',
    loginName: 'alice',
    service: 'beacon-cli',
    proof: { thumbprint: keys.thumbprint, body: sha256('{"v":1}'), keyProof: 'c2ln' },
  });
});

test('refuses a proof that was used, also in the same moment', async () => {
  const proof = await makeProof(keys, 'GET', `${lab.url}/v1/whoami`, { ath: sha256(tokens.access) });
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => lab.callApi('GET', tokens.access, proof)),
  );
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  expect(answers.filter(({ answer }) => answer['error'] === 'proof-replayed')).toHaveLength(19);
  await lab.restart();
  expect((await lab.callApi('GET', tokens.access, proof)).answer).toEqual({ error: 'proof-replayed' });
});

test('refuses a body that a proxy has changed', async () => {
  const proof = await makeProof(keys, 'POST', `${lab.url}/v1/whoami`, {
    ath: sha256(tokens.access),
    body: sha256('{"v":1}'),
  });
  expect((await lab.callApi('POST', tokens.access, proof, '{"v":2}')).answer).toEqual({
    error: 'proof-body',
  });
});

test('refuses a token with the proof of another key, or sent as a bearer token', async () => {
  expect((await lab.whoami(await makeKeys(), tokens.access)).answer).toEqual({ error: 'proof-invalid' });
  expect((await lab.whoami(keys, tokens.access, { scheme: 'Bearer' })).answer).toEqual({
    error: 'token-invalid',
  });
  const bare = await fetch(`${lab.url}/v1/whoami`, { headers: { authorization: `DPoP ${tokens.access}` } });
  expect(await bare.json()).toEqual({ error: 'proof-missing' });
  expect(await (await fetch(`${lab.url}/v1/whoami`)).json()).toEqual({ error: 'token-missing' });
});

test('an access token lives ten minutes', async () => {
  const expiry = Date.now() + 600_000;
  const own = await makeKeys();
  const { access } = await lab.login(own);
  setTime(expiry - 5_000);
  expect((await lab.whoami(own, access)).status).toBe(200);
  setTime(expiry + 5_000);
  expect((await lab.whoami(own, access)).answer).toEqual({ error: 'token-expired' });
});

test('T4: each kind of token opens its own door and no other', async () => {
  const device = await lab.beginDevice();
  const exchange = await lab.token(keys, {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: jwt,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    ...(await portal.assertion(lab.url)),
  });
  const kinds: Record<string, string> = {
    access: tokens.access,
    exchanged: String(exchange.answer['access_token']),
    refresh: tokens.refresh,
    broker: jwt,
    device: device.deviceCode,
    user: device.userCode,
    github: [...lab.standin.state.tokens.keys()][0] ?? '',
    assertion: String((await portal.assertion(lab.url))['client_assertion']),
    proof: await makeProof(keys, 'GET', `${lab.url}/v1/whoami`),
    random: randomBytes(32).toString('base64url'),
  };
  const doors: Record<string, { open: string[]; enter: (token: string) => Promise<{ status: number }> }> = {
    api: { open: ['access', 'exchanged'], enter: (token) => lab.whoami(keys, token) },
    exchange: {
      open: ['broker'],
      enter: async (token) =>
        lab.token(keys, {
          grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
          subject_token: token,
          subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
          ...(await portal.assertion(lab.url)),
        }),
    },
    code: {
      open: [],
      enter: async (token) =>
        lab.token(keys, {
          grant_type: 'authorization_code',
          code: token,
          redirect_uri: 'x',
          code_verifier: 'v'.repeat(43),
          ...(await portal.assertion(lab.url)),
        }),
    },
    device: { open: [], enter: (token) => lab.pollDevice(keys, token) },
    // Last, because the right one is used up by it.
    refresh: { open: ['refresh'], enter: (token) => lab.refresh(keys, token) },
  };
  for (const [door, { open, enter }] of Object.entries(doors)) {
    for (const [kind, token] of Object.entries(kinds)) {
      const { status } = await enter(token);
      expect({ door, kind, opened: status === 200 }).toEqual({ door, kind, opened: open.includes(kind) });
      if (status !== 200) expect(status).toBeLessThan(500);
    }
  }
});
