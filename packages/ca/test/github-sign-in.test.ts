import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { Browser, fieldOf, Lab, makeKeys, PEOPLE } from './authorization-lab.ts';

let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start();
});
afterEach(() => {
  lab.standin.state.clearFaults();
  lab.disabled.clear();
  lab.warnings.length = 0;
});
afterAll(() => lab.close());

/** Goes to GitHub and comes back with the callback's address, which is not yet visited. */
async function callbackOf(browser: Browser, login: string): Promise<URL> {
  const away = await browser.request(`${lab.url}/device`);
  const fields = Object.fromEntries(new URL(away.location ?? '').searchParams);
  const answer = await browser.request(`${lab.standin.url}/login/oauth/authorize`, {
    form: { ...fields, person: login },
  });
  return new URL(answer.location ?? '');
}

async function isSignedIn(browser: Browser): Promise<boolean> {
  return (await browser.request(`${lab.url}/device`)).text.includes('Signed in at GitHub as');
}

async function records(): Promise<{ person?: string; facts: { code: string } }[]> {
  const rows = await lab.database
    .selectFrom('records')
    .select('line')
    .where('kind', '=', 'sign-in-refused')
    .execute();
  return rows.map(({ line }) => JSON.parse(line));
}

/** The codes in the log. */
function refusals(): unknown[] {
  return lab.warnings.map((fields) => (fields as { code?: unknown }).code);
}

test('a sign-in comes back from GitHub to the page it was begun for', async () => {
  const browser = new Browser();
  const page = await lab.travel(browser, `${lab.url}/device`, 'alice');
  expect(page.status).toBe(200);
  expect(page.text).toContain('alice');
});

test.each([
  ['without state', (url: URL) => url.searchParams.delete('state')],
  ['with a wrong state', (url: URL) => url.searchParams.set('state', 'A'.repeat(24))],
  ['with an empty state', (url: URL) => url.searchParams.set('state', '')],
])('O1: refuses an answer %s', async (_title, change) => {
  const browser = new Browser();
  const url = await callbackOf(browser, 'alice');
  change(url);
  const answer = await browser.request(url.href);
  expect(answer.status).toBe(403);
  expect(await isSignedIn(browser)).toBe(false);
  expect(refusals().at(-1)).toBe('state');
});

test("O1: refuses another browser's state and a state that was used", async () => {
  const alice = new Browser();
  const mallory = new Browser();
  const hers = await callbackOf(alice, 'alice');
  const theirs = await callbackOf(mallory, 'bob');
  const mixed = new URL(hers);
  mixed.searchParams.set('state', theirs.searchParams.get('state') ?? '');
  expect((await alice.request(mixed.href)).status).toBe(403);
  expect(await isSignedIn(alice)).toBe(false);

  const fresh = await callbackOf(alice, 'alice');
  expect((await alice.request(fresh.href)).status).toBe(303);
  expect((await alice.request(fresh.href)).status).toBe(403);
});

test('O2: refuses a code that was obtained for one person and delivered to another browser', async () => {
  const mallory = new Browser();
  const victim = new Browser();
  const theirs = await callbackOf(mallory, 'bob');
  // Once without any sign-in begun there, once with the victim's own state and the attacker's code.
  expect((await victim.request(theirs.href)).status).toBe(403);
  const own = await callbackOf(victim, 'alice');
  own.searchParams.set('code', theirs.searchParams.get('code') ?? '');
  // PKCE: GitHub was given another browser's challenge for this code.
  expect((await victim.request(own.href)).status).toBe(403);
  expect(await isSignedIn(victim)).toBe(false);
  expect(refusals().at(-1)).toBe('code-refused');
});

test('O3: always sends a PKCE challenge by S256, and a fresh one', async () => {
  const first = new URL((await new Browser().request(`${lab.url}/device`)).location ?? '').searchParams;
  const second = new URL((await new Browser().request(`${lab.url}/device`)).location ?? '').searchParams;
  expect(first.get('code_challenge_method')).toBe('S256');
  expect(first.get('code_challenge')).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(second.get('code_challenge')).not.toBe(first.get('code_challenge'));
});

test('O3: fails when somebody on the way took the challenge out or put another in', async () => {
  for (const challenge of [undefined, 'B'.repeat(43)]) {
    const browser = new Browser();
    const away = new URL((await browser.request(`${lab.url}/device`)).location ?? '');
    const fields = Object.fromEntries(away.searchParams);
    delete fields['code_challenge'];
    delete fields['code_challenge_method'];
    const changed =
      challenge === undefined ? {} : { code_challenge: challenge, code_challenge_method: 'S256' };
    const answer = await browser.request(`${lab.standin.url}/login/oauth/authorize`, {
      form: { ...fields, ...changed, person: 'alice' },
    });
    const back = await browser.request(answer.location ?? '');
    // Without a challenge GitHub has nothing to check; state alone then binds the answer to the browser.
    expect(back.status).toBe(challenge === undefined ? 303 : 403);
  }
});

test('O4: refuses a token that GitHub says was made for another app, whatever /user answers', async () => {
  const other = lab.standin.state.addApp({ callbackUrls: ['http://127.0.0.1:1/'] });
  const foreign = lab.standin.state.mintToken({ clientId: other.clientId, person: PEOPLE.alice.id });
  lab.standin.state.fault({
    path: '/login/oauth/access_token',
    effect: {
      kind: 'answer',
      status: 200,
      body: { access_token: foreign.token, token_type: 'bearer', scope: '' },
    },
  });
  const browser = new Browser();
  const page = await lab.travel(browser, `${lab.url}/device`, 'alice');
  expect(page.status).toBe(401);
  expect(await isSignedIn(browser)).toBe(false);
  expect(refusals().at(-1)).toBe('token-foreign');
});

test('refuses a disabled person and deletes their token at GitHub', async () => {
  lab.disabled.add('github:42');
  const before = lab.standin.state.tokens.size;
  const page = await lab.travel(new Browser(), `${lab.url}/device`, 'bob');
  expect(page.status).toBe(403);
  expect(lab.standin.state.tokens.size).toBe(before);
  expect((await records()).at(-1)).toMatchObject({ person: 'github:42', facts: { code: 'person-disabled' } });
});

test('O1: what a stranger sends to the callback leaves lines of the log with code and address, and no record', async () => {
  const before = await lab.database.selectFrom('records').selectAll().execute();
  const url = await callbackOf(new Browser(), 'alice');
  const answers = await Promise.all(Array.from({ length: 40 }, () => new Browser().request(url.href)));
  expect(answers.map(({ status }) => status)).toEqual(Array(40).fill(403));
  expect(await lab.database.selectFrom('records').selectAll().execute()).toEqual(before);
  expect(lab.warnings).toEqual(
    Array(40).fill(expect.objectContaining({ code: 'state', address: expect.stringContaining('127.0.0.1') })),
  );
});

test('A13: sends nobody to GitHub whose return could not be kept', async () => {
  await lab.breakTable('sign_ins');
  const refused = await new Browser().request(`${lab.url}/device`);
  await lab.mendTable('sign_ins');
  expect([refused.status, refused.location]).toEqual([500, null]);
  expect((await new Browser().request(`${lab.url}/device`)).status).toBe(302);
});

test.each([
  ['the code', '/login/oauth/access_token', 'hang'],
  ['the code', '/login/oauth/access_token', 'reset'],
  ['the check', '/applications/*', 'truncated-json'],
  ['the identity', '/user', 'garbage'],
] as const)('tells a person when GitHub fails over %s (%s: %s)', async (_what, path, kind) => {
  lab.standin.state.fault({ path, effect: { kind } });
  const browser = new Browser();
  const page = await lab.travel(browser, `${lab.url}/device`, 'alice');
  expect([403, 503]).toContain(page.status);
  expect(page.status).toBe(503);
  lab.standin.state.clearFaults();
  expect(await isSignedIn(browser)).toBe(false);
});

test('Q2: when GitHub hangs over the code, nobody waits for it after some have, and who is signed in works on', async () => {
  const keys = await makeKeys();
  const { access } = await lab.login(keys);
  lab.standin.state.fault({ path: '/login/oauth/access_token', effect: { kind: 'hang' } });
  const signIn = async () => (await lab.travel(new Browser(), `${lab.url}/device`, 'alice')).status;
  const asked = () => lab.standin.state.requests.filter((line) => line.endsWith('/access_token')).length;
  expect(await Promise.all(Array.from({ length: 5 }, signIn))).toEqual(Array(5).fill(503));
  const before = asked();
  expect(await Promise.all(Array.from({ length: 20 }, signIn))).toEqual(Array(20).fill(503));
  expect(asked()).toBe(before);
  expect(refusals().slice(-20)).toEqual(Array(20).fill('github-unavailable'));
  expect((await lab.whoami(keys, access)).status).toBe(200);
  await lab.restart();
});

test('a person who says no at GitHub is told so', async () => {
  const page = await lab.travel(new Browser(), `${lab.url}/device`, 'nobody-of-that-name');
  expect(page.status).toBe(403);
  expect(refusals().at(-1)).toBe('refused-at-github');
});

test('O10: neither Host nor a parameter moves the callback or the way back', async () => {
  const hostile = { host: 'evil.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' };
  for (const query of [
    '',
    '?returnTo=https://evil.example/',
    '?redirect_uri=https://evil.example/&state=x',
  ]) {
    const browser = new Browser();
    const away = await browser.request(`${lab.url}/device${query}`, { headers: hostile });
    expect(new URL(away.location ?? '').searchParams.get('redirect_uri')).toBe(
      `${lab.url}/sign-in/github/callback`,
    );
    const back = await callbackOf(browser, 'alice');
    back.searchParams.set('returnTo', 'https://evil.example/');
    expect((await browser.request(back.href, { headers: hostile })).location).toBe('/device');
  }
});

test('O11: the cookie gets a new id at sign-in, the old one and the one after sign-out open nothing', async () => {
  const browser = new Browser();
  const back = await callbackOf(browser, 'alice');
  const planted = browser.cookie('beacon-sign-in');
  await browser.request(back.href);
  const own = browser.cookie('beacon-sign-in');
  expect(planted).toBeDefined();
  expect(own).not.toBe(planted);
  expect(await isSignedIn(withCookie(planted))).toBe(false);
  expect(await isSignedIn(browser)).toBe(true);

  await browser.request(`${lab.url}/sign-out`, { form: {} });
  expect(await isSignedIn(withCookie(own))).toBe(false);
});

test('O11: a sign-in works for one login, then its cookie opens nothing', async () => {
  const keys = await makeKeys();
  const browser = new Browser();
  const { deviceCode, userCode } = await lab.beginDevice();
  const page = await lab.travel(browser, `${lab.url}/device`, 'alice');
  const cookie = browser.cookie('beacon-sign-in');
  expect(fieldOf(page.text, 'xsrf')).toMatch(/^[0-9a-f]{48}$/);
  await lab.approveDevice(browser, userCode, 'alice');
  expect((await lab.pollDevice(keys, deviceCode)).status).toBe(200);
  expect(await isSignedIn(withCookie(cookie))).toBe(false);
});

test('cookies are for this host, out of reach of scripts, and not sent along from other sites', async () => {
  const browser = new Browser();
  await lab.travel(browser, `${lab.url}/device`, 'alice');
  for (const cookie of browser.setCookies) {
    expect(cookie.toLowerCase()).toContain('httponly');
    expect(cookie.toLowerCase()).toContain('samesite=lax');
    expect(cookie.toLowerCase()).not.toContain('domain=');
  }
});

function withCookie(value: string | undefined): Browser {
  const browser = new Browser();
  browser.jar.set('beacon-sign-in /', { value: value ?? '', path: '/' });
  return browser;
}
