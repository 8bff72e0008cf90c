import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type App, type Standin, startStandin } from '../src/index.ts';

const CALLBACK = 'http://127.0.0.1:9999/login/callback';
const VERIFIER = 'v'.repeat(64);
const CHALLENGE = createHash('sha256').update(VERIFIER).digest('base64url');

let standin: Standin;
let app: App;
let now: Date;

beforeEach(async () => {
  now = new Date('2026-11-22T10:00:00Z');
  standin = await startStandin({ now: () => now });
  app = standin.state.addApp({ callbackUrls: [CALLBACK] });
  standin.state.addPerson({ id: 583231, login: 'mona' });
});
afterEach(() => standin.close());

const asked = (changes: Record<string, string> = {}) => ({
  client_id: app.clientId,
  redirect_uri: CALLBACK,
  state: 's t&te',
  code_challenge: CHALLENGE,
  code_challenge_method: 'S256',
  ...changes,
});

/** Plays the browser: opens the page, presses the person's button, and returns where it is sent. */
async function authorize(changes: Record<string, string> = {}, pressed = { person: 'mona' }): Promise<URL> {
  const query = new URLSearchParams(asked(changes));
  const shown = await fetch(`${standin.url}/login/oauth/authorize?${query}`, { redirect: 'manual' });
  if (shown.status === 302) return new URL(shown.headers.get('location') ?? '');
  const html = await shown.text();
  const hidden = [...html.matchAll(/type="hidden" name="([^"]*)" value="([^"]*)"/g)].map(
    ([, name = '', value = '']): [string, string] => [
      name,
      value.replace(/&#(\d+);/g, (_all, code: string) => String.fromCharCode(Number(code))),
    ],
  );
  const sent = await fetch(`${standin.url}/login/oauth/authorize`, {
    method: 'POST',
    body: new URLSearchParams([...hidden, ...Object.entries(pressed)]),
    redirect: 'manual',
  });
  return new URL(sent.headers.get('location') ?? '');
}

async function exchange(code: string, changes: Record<string, string> = {}) {
  const response = await fetch(`${standin.url}/login/oauth/access_token`, {
    method: 'POST',
    headers: { accept: 'application/json' },
    body: new URLSearchParams({
      client_id: app.clientId,
      client_secret: app.clientSecret,
      code,
      redirect_uri: CALLBACK,
      code_verifier: VERIFIER,
      ...changes,
    }),
  });
  expect(response.status).toBe(200);
  return (await response.json()) as Record<string, unknown>;
}

describe('the web flow', () => {
  it('gives a code and the state, and a token for the code', async () => {
    const back = await authorize();
    expect(back.origin + back.pathname).toBe(CALLBACK);
    expect(back.searchParams.get('state')).toBe('s t&te');
    const answer = await exchange(back.searchParams.get('code') ?? '');
    expect(answer).toMatchObject({ token_type: 'bearer', expires_in: 28_800, scope: '' });
    const person = await fetch(`${standin.url}/user`, {
      headers: { authorization: `Bearer ${String(answer['access_token'])}` },
    });
    expect(await person.json()).toMatchObject({ id: 583231, login: 'mona' });
  });

  it('answers form-encoded unless JSON is asked for, and gives an OAuth App its scopes', async () => {
    app = standin.state.addApp({ kind: 'oauth-app', callbackUrls: [CALLBACK] });
    const code = (await authorize({ scope: 'read:org' })).searchParams.get('code') ?? '';
    const response = await fetch(`${standin.url}/login/oauth/access_token`, {
      method: 'POST',
      body: new URLSearchParams({
        client_id: app.clientId,
        client_secret: app.clientSecret,
        code,
        code_verifier: VERIFIER,
      }),
    });
    expect(response.headers.get('content-type')).toContain('application/x-www-form-urlencoded');
    const fields = new URLSearchParams(await response.text());
    expect(fields.get('access_token')).toMatch(/^gho_[A-Za-z0-9]{36}$/);
    expect(fields.get('scope')).toBe('read:org');
  });

  it('O3: refuses a plain challenge, and one without a method', async () => {
    for (const method of ['plain', '']) {
      const back = await authorize({ code_challenge_method: method });
      expect(back.searchParams.get('error')).toBe('invalid_request');
      expect(back.searchParams.get('code')).toBeNull();
    }
  });

  it.each([
    ['another verifier', { code_verifier: 'w'.repeat(64) }],
    ['no verifier', { code_verifier: '' }],
    ['the challenge as verifier', { code_verifier: CHALLENGE }],
  ])('O3: refuses a code with %s, and the code is used up', async (_what, change) => {
    const code = (await authorize()).searchParams.get('code') ?? '';
    expect(await exchange(code, change)).toMatchObject({ error: 'bad_verification_code' });
    expect(await exchange(code)).toMatchObject({ error: 'bad_verification_code' });
  });

  it('refuses a code the second time, after ten minutes, and from another app', async () => {
    const code = (await authorize()).searchParams.get('code') ?? '';
    expect(await exchange(code)).toHaveProperty('access_token');
    expect(await exchange(code)).toMatchObject({ error: 'bad_verification_code' });

    const late = (await authorize()).searchParams.get('code') ?? '';
    now = new Date(now.getTime() + 10 * 60 * 1000);
    expect(await exchange(late)).toMatchObject({ error: 'bad_verification_code' });

    const ours = (await authorize()).searchParams.get('code') ?? '';
    const other = standin.state.addApp({ callbackUrls: [CALLBACK] });
    expect(
      await exchange(ours, { client_id: other.clientId, client_secret: other.clientSecret }),
    ).toMatchObject({ error: 'bad_verification_code' });
  });

  it('refuses a wrong secret and another redirect address', async () => {
    const code = (await authorize()).searchParams.get('code') ?? '';
    expect(await exchange(code, { client_secret: 'wrong' })).toMatchObject({
      error: 'incorrect_client_credentials',
    });
    expect(await exchange(code, { redirect_uri: `${CALLBACK}/x` })).toMatchObject({
      error: 'redirect_uri_mismatch',
    });
  });

  it('O10: sends nobody to an address that is not registered', async () => {
    for (const redirect of ['https://evil.example/', `${CALLBACK}?x=1`, `${CALLBACK}/../evil`]) {
      const back = await authorize({ redirect_uri: redirect });
      expect(back.origin + back.pathname).toBe(CALLBACK);
      expect(back.searchParams.get('error')).toBe('redirect_uri_mismatch');
    }
  });

  it('tells the app when the person cancels', async () => {
    const back = await authorize({}, { person: '' });
    expect(back.searchParams.get('error')).toBe('access_denied');
    expect(back.searchParams.get('state')).toBe('s t&te');
  });

  it('ends a token of a GitHub App after eight hours', async () => {
    const { token } = standin.state.mintToken({ clientId: app.clientId, person: 583231 });
    const ask = () => fetch(`${standin.url}/user`, { headers: { authorization: `Bearer ${token}` } });
    expect((await ask()).status).toBe(200);
    now = new Date(now.getTime() + 8 * 60 * 60 * 1000);
    expect((await ask()).status).toBe(401);
  });
});
