import { createHash, KeyObject, randomBytes } from 'node:crypto';
import {
  createProof,
  discoverCa,
  exportProofKey,
  finishAuthorization,
  generateProofKey,
  openSession,
  type SessionStorage,
  startAuthorization,
  storedSession,
} from '@beacon/client';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Browser, fieldOf, type Keys, Lab, makeKeys, makeService, type Visit } from './authorization-lab.ts';

const RETURN = 'https://portal.example/callback';
const portal = await makeService('portal', ['login', 'exchange'], [RETURN]);
const builder = await makeService('builder', ['exchange']);
let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start({ services: [portal.service, builder.service] });
});
afterAll(() => lab.close());

function makeVerifier() {
  const verifier = randomBytes(32).toString('base64url');
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') };
}

function authorizeUrl(challenge: string, change: Record<string, string | undefined> = {}): string {
  const url = new URL(`${lab.url}/oauth/authorize`);
  const fields: Record<string, string | undefined> = {
    client_id: 'portal',
    response_type: 'code',
    redirect_uri: RETURN,
    state: 'portal-state',
    code_challenge: challenge,
    code_challenge_method: 'S256',
    resource: 'urn:beacon:ca',
    ...change,
  };
  for (const [name, value] of Object.entries(fields))
    if (value !== undefined) url.searchParams.set(name, value);
  return url.href;
}

function decide(
  browser: Browser,
  page: Visit,
  decision: string,
  xsrf = fieldOf(page.text, 'xsrf'),
): Promise<Visit> {
  return browser.request(page.url, { form: { xsrf, decision } });
}

/** The whole way in the browser; the answer is where the service gets its code. */
function consent(challenge: string, login = 'alice', browser = new Browser()): Promise<URL> {
  return walk(authorizeUrl(challenge), login, browser);
}

async function walk(url: string, login = 'alice', browser = new Browser()): Promise<URL> {
  const page = await lab.travel(browser, url, login);
  const decided = await decide(browser, page, 'allow');
  const back = await lab.travel(browser, new URL(decided.location ?? '', lab.url).href, login);
  return new URL(back.location ?? '');
}

async function redeem(
  keys: Keys,
  code: string,
  verifier: string | undefined,
  change: Record<string, string> = {},
) {
  return lab.token(keys, {
    grant_type: 'authorization_code',
    code,
    redirect_uri: RETURN,
    ...(verifier === undefined ? {} : { code_verifier: verifier }),
    ...(await portal.assertion(lab.url)),
    ...change,
  });
}

test('a service gets a token by code and PKCE after the person has said yes to it by name', async () => {
  const { verifier, challenge } = makeVerifier();
  const browser = new Browser();
  const page = await lab.travel(browser, authorizeUrl(challenge), 'alice');
  expect(page.status).toBe(200);
  for (const words of ['Service portal', 'alice', 'SSH certificates', 'https://portal.example', '8 hours']) {
    expect(page.text).toContain(words);
  }
  expect(page.headers.get('content-security-policy')).toContain("form-action 'self' https://portal.example;");
  const back = await consent(challenge);
  expect(back.origin + back.pathname).toBe(RETURN);
  expect(back.searchParams.get('state')).toBe('portal-state');
  expect(back.searchParams.get('iss')).toBe(lab.url);
  const keys = await makeKeys();
  const answer = await redeem(keys, back.searchParams.get('code') ?? '', verifier);
  expect(answer).toMatchObject({ status: 200, answer: { token_type: 'DPoP', expires_in: 600 } });
  expect(answer.answer).not.toHaveProperty('id_token');
  expect(await lab.whoami(keys, String(answer.answer['access_token']))).toMatchObject({
    status: 200,
    answer: { person: 'github:583231', service: 'portal' },
  });
});

test('a service renews its login with the client library, proving itself each time', async () => {
  const metadata = await discoverCa(lab.url);
  const proofKey = generateProofKey();
  const service = {
    clientId: 'portal',
    privateKey: KeyObject.from(portal.keys.privateKey as never),
    keyId: 'portal-1',
  };
  const started = startAuthorization({
    metadata,
    clientId: 'portal',
    redirectUri: RETURN,
    resources: ['urn:beacon:ca'],
  });
  const { searchParams: query } = await walk(started.url);
  const tokens = await finishAuthorization({
    ...{ metadata, service, redirectUri: RETURN, query, started, proofKey },
    resource: 'urn:beacon:ca',
  });
  const { issuer, tokenEndpoint } = metadata;
  const login = { issuer, clientId: 'portal', tokenEndpoint, key: exportProofKey(proofKey) };
  let stored = { ...storedSession(login, tokens), accessTokenExpiresAt: new Date(0) };
  const storage: SessionStorage = {
    read: async () => stored,
    update: async (change) => {
      stored = await change(stored);
      return stored;
    },
  };
  const alone = await openSession(storage);
  await expect(alone.accessToken()).rejects.toMatchObject({ code: 'oauth-refused' });
  const credentials = await openSession(storage, undefined, service);
  const renewed = await credentials.accessToken();
  expect(renewed).not.toBe(tokens.accessToken);
  expect(await credentials.accessToken(renewed)).not.toBe(renewed);
  const proof = await createProof(proofKey, {
    method: 'GET',
    url: `${lab.url}/v1/whoami`,
    now: new Date(),
    accessToken: stored.accessToken,
  });
  expect(await lab.callApi('GET', stored.accessToken, proof)).toMatchObject({
    status: 200,
    answer: { person: 'github:583231', service: 'portal' },
  });
});

test('O3: a code needs its own verifier: none, another, or plain do not do', async () => {
  const keys = await makeKeys();
  const one = makeVerifier();
  const two = makeVerifier();
  const code = (await consent(one.challenge)).searchParams.get('code') ?? '';
  expect((await redeem(keys, code, undefined)).answer).toMatchObject({ error: 'invalid_grant' });
  expect((await redeem(keys, code, two.verifier)).answer).toMatchObject({ error: 'invalid_grant' });
  for (const change of [
    { code_challenge_method: 'plain' },
    { code_challenge: undefined, code_challenge_method: undefined },
    { code_challenge_method: undefined },
  ]) {
    const answer = await new Browser().request(authorizeUrl(one.challenge, change));
    expect(new URL(answer.location ?? '').searchParams.get('error')).toBe('invalid_request');
  }
});

test('O10: sends nobody anywhere but to the registered address', async () => {
  const { challenge } = makeVerifier();
  for (const redirect_uri of ['https://evil.example/', `${RETURN}/../x`, `${RETURN}?a=1`, undefined]) {
    const answer = await new Browser().request(authorizeUrl(challenge, { redirect_uri }), {
      headers: { host: 'evil.example' },
    });
    expect(answer.location).toBeNull();
    expect(answer.status).toBe(400);
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'");
  }
});

test('a code works once; a second use ends the session that the first one got', async () => {
  const { verifier, challenge } = makeVerifier();
  const keys = await makeKeys();
  const code = (await consent(challenge)).searchParams.get('code') ?? '';
  const first = await redeem(keys, code, verifier);
  expect(first.status).toBe(200);
  expect((await redeem(keys, code, verifier)).answer).toMatchObject({ error: 'invalid_grant' });
  expect(await lab.whoami(keys, String(first.answer['access_token']))).toMatchObject({
    answer: { error: 'session-ended' },
  });
});

test('every login makes its own trip to GitHub, whatever cookies the browser still has', async () => {
  const browser = new Browser();
  await consent(makeVerifier().challenge, 'alice', browser);
  for (const prompt of [undefined, 'login']) {
    const next = await browser.request(authorizeUrl(makeVerifier().challenge, { prompt }));
    const interaction = await browser.request(new URL(next.location ?? '', lab.url).href);
    expect(interaction.location).toContain(`${lab.standin.url}/login/oauth/authorize`);
  }
  const silent = await browser.request(authorizeUrl(makeVerifier().challenge, { prompt: 'none' }));
  expect(new URL(silent.location ?? '').searchParams.get('error')).toBe('login_required');
  // Another person in the same browser is that person, not the one before.
  const { verifier, challenge } = makeVerifier();
  const code = (await consent(challenge, 'bob', browser)).searchParams.get('code') ?? '';
  const keys = await makeKeys();
  const answer = await redeem(keys, code, verifier);
  expect(await lab.whoami(keys, String(answer.answer['access_token']))).toMatchObject({
    answer: { person: 'github:42' },
  });
});

test('a person who refuses, and a form that is not ours, give the service nothing', async () => {
  const browser = new Browser();
  const page = await lab.travel(browser, authorizeUrl(makeVerifier().challenge), 'alice');
  expect((await decide(browser, page, 'allow', 'forged')).status).toBe(403);
  expect((await decide(new Browser(), page, 'allow')).status).toBe(400);
  const refused = await decide(browser, page, 'refuse');
  const back = await lab.travel(browser, new URL(refused.location ?? '', lab.url).href, 'alice');
  const answer = new URL(back.location ?? '').searchParams;
  expect(answer.get('error')).toBe('access_denied');
  expect(answer.get('code')).toBeNull();
});

test('a sign-in made for the device page does not pass for a service, nor one for another interaction', async () => {
  const browser = new Browser();
  await lab.travel(browser, `${lab.url}/device`, 'alice');
  const next = await browser.request(authorizeUrl(makeVerifier().challenge));
  const interaction = await browser.request(new URL(next.location ?? '', lab.url).href);
  expect(interaction.location).toContain(lab.standin.url);
});

test('one sign-in makes one session, however often the word is sent at once', async () => {
  const browser = new Browser();
  const page = await lab.travel(browser, authorizeUrl(makeVerifier().challenge), 'bob');
  const before = (await lab.authorization.sessions.listAlive('github:42')).length;
  const answers = await Promise.all(Array.from({ length: 10 }, () => decide(browser, page, 'allow')));
  expect(answers.filter(({ status }) => status === 303)).toHaveLength(1);
  expect(await lab.authorization.sessions.listAlive('github:42')).toHaveLength(before + 1);
});

test.each([
  ['implicit', { response_type: 'token' }],
  ['an id token alone', { response_type: 'id_token', nonce: 'n' }],
  ['another scope', { scope: 'openid' }],
  ['an unknown audience', { resource: 'urn:beacon:broker:nobody' }],
  ['an audience that takes no tokens', { resource: 'https://portal.example/' }],
  ['a form-post request object', { request: 'e30.e30.' }],
])('does not offer %s', async (_title, change) => {
  const answer = await new Browser().request(authorizeUrl(makeVerifier().challenge, change));
  const location = new URL(answer.location ?? '', lab.url);
  if (location.origin === 'https://portal.example') {
    const error =
      location.searchParams.get('error') ?? new URLSearchParams(location.hash.slice(1)).get('error');
    expect(error).not.toBeNull();
  } else {
    const page = await lab.travel(new Browser(), authorizeUrl(makeVerifier().challenge, change), 'alice');
    expect(page.text).not.toContain('openid');
  }
});

test('a service is known by its own assertion alone: once, for this server, by its key', async () => {
  const keys = await makeKeys();
  const { verifier, challenge } = makeVerifier();
  const code = (await consent(challenge)).searchParams.get('code') ?? '';
  const stranger = await makeService('portal', [], []);
  for (const assertion of [
    await stranger.assertion(lab.url),
    await portal.assertion('https://other.example'),
    { client_id: 'portal' },
    { client_id: 'portal', client_secret: 'x' },
    await builder.assertion(lab.url),
  ]) {
    const answer = await lab.token(keys, {
      grant_type: 'authorization_code',
      code,
      redirect_uri: RETURN,
      code_verifier: verifier,
      ...assertion,
    });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.answer).not.toHaveProperty('access_token');
  }
  const assertion = await portal.assertion(lab.url);
  expect((await redeem(keys, 'A'.repeat(43), verifier, assertion)).answer).toMatchObject({
    error: 'invalid_grant',
  });
  expect((await redeem(keys, code, verifier, assertion)).status).toBeGreaterThanOrEqual(400);
  expect((await redeem(keys, code, verifier)).status).toBe(200);
});
