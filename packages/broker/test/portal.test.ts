/** Logins by browser at the broker: the way there and back, what a cookie is worth, and what a page of others can do. */

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Browser, formOf, HttpLab } from './http-lab.ts';

describe('the portal', () => {
  let lab: HttpLab;

  beforeAll(async () => {
    lab = await HttpLab.start({ idleMs: 3 * 60_000 });
  });
  afterAll(() => lab.close());

  const isCallback = (url: string) => url.startsWith(`${lab.url}/callback`);

  /** A browser that has come as far as the answer that leads back to the broker. */
  async function upToCallback(person: string): Promise<{ browser: Browser; callback: string }> {
    const browser = new Browser();
    const last = await browser.travel(`${lab.url}/login`, person, isCallback);
    return { browser, callback: last.location ?? '' };
  }

  async function logIn(person: string): Promise<Browser> {
    const { browser, callback } = await upToCallback(person);
    expect((await browser.visit(callback)).status).toBe(200);
    return browser;
  }

  const cookieOf = (browser: Browser) => browser.jar.get(`${lab.url} beacon`) ?? '';
  const me = (browser: Browser) => browser.visit(`${lab.url}/api/caller`);
  const own = { 'x-beacon-csrf': '1', 'content-type': 'application/json', 'idempotency-key': 'k' };
  const wish = JSON.stringify({
    v: 1,
    host: 'web-01',
    command: 'runner.install',
    params: { name: 'r1', version: '2.330.0' },
  });

  function post(browser: Browser, path: string, headers: Record<string, string>, body: string = wish) {
    return fetch(`${lab.url}${path}`, {
      method: 'POST',
      body,
      headers: { ...own, origin: lab.url, cookie: `beacon=${cookieOf(browser)}`, ...headers },
    });
  }

  it('logs a person in through the CA, says who they are, and where the interface is described', async () => {
    const { browser, callback } = await upToCallback('lin');
    const page = await browser.visit(callback);
    expect(page.text).toContain('You are logged in as lin');
    expect(page.headers.get('refresh')).toBe('0; url=/');
    const first = await browser.visit(`${lab.url}/`);
    expect(first.text).toContain('github:102');
    expect(first.text).toContain('/openapi.json');
    expect(first.text).not.toMatch(/<script/i);
    expect(JSON.parse((await me(browser)).text)).toEqual({
      person: 'github:102',
      name: 'lin',
      service: 'portal',
    });
  });

  it('W5: the cookie is for this server and its own pages alone, not for scripts, and of TLS where there is TLS', async () => {
    const browser = await logIn('lin');
    const set = browser.setCookies.filter((line) => line.startsWith('beacon='));
    expect(set.at(-1)).toMatch(
      /^beacon=[A-Za-z0-9_-]{43}[.][A-Za-z0-9_-]{43}; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Strict$/,
    );
    const begun = browser.setCookies.find((line) => line.startsWith('beacon-login='));
    expect(begun).toMatch(/; Path=\/; Max-Age=900; HttpOnly; SameSite=Lax$/);
  });

  it('O1: takes no answer without the state of this browser, with another, or a second time', async () => {
    const { browser, callback } = await upToCallback('lin');
    const without = new URL(callback);
    without.searchParams.delete('state');
    const foreign = await upToCallback('kim');
    const other = new URL(callback);
    other.searchParams.set('state', new URL(foreign.callback).searchParams.get('state') ?? '');
    for (const url of [without.href, other.href]) {
      const { browser: each, callback: right } = await upToCallback('lin');
      const changed = new URL(url);
      changed.searchParams.set('code', new URL(right).searchParams.get('code') ?? '');
      const refused = await each.visit(changed.href);
      expect([refused.status, cookieOf(each)]).toEqual([403, '']);
      // The login is over with the first answer, whatever it was.
      expect((await each.visit(right)).status).toBe(403);
    }
    expect((await browser.visit(callback)).status).toBe(200);
    const again = await browser.visit(callback);
    expect(again.status).toBe(403);
  });

  it("O2: an attacker's code in a victim's browser logs nobody in", async () => {
    const attacker = await upToCallback('mallory');
    const stranger = new Browser();
    expect((await stranger.visit(attacker.callback)).status).toBe(403);
    expect(cookieOf(stranger)).toBe('');
    const victim = await upToCallback('lin');
    expect((await victim.browser.visit(attacker.callback)).status).toBe(403);
    expect(cookieOf(victim.browser)).toBe('');
  });

  it("O3: a code is redeemed with its own login's verifier alone", async () => {
    const [one, other] = [await upToCallback('lin'), await upToCallback('lin')];
    const mixed = new URL(one.callback);
    mixed.searchParams.set('code', new URL(other.callback).searchParams.get('code') ?? '');
    const refused = await one.browser.visit(mixed.href);
    expect([refused.status, cookieOf(one.browser)]).toEqual([403, '']);
    const begun = new URL((await new Browser().visit(`${lab.url}/login`)).location ?? '');
    expect(begun.searchParams.get('code_challenge_method')).toBe('S256');
    expect(begun.searchParams.get('code_challenge')).toMatch(/^[A-Za-z0-9_-]{43}$/);
  });

  it('O10: leads back to pages of its own alone, and says the same address whatever Host says', async () => {
    for (const target of [
      'https://evil.example',
      '//evil.example',
      '/\\evil.example',
      'x',
      '/a?b=c',
      '/%0d%0a',
    ]) {
      const refused = await lab.send('GET', `/login?return=${encodeURIComponent(target)}`);
      expect([target, refused.status, refused.headers.get('location')]).toEqual([target, 400, null]);
    }
    expect((await lab.send('GET', '/login?return=/a&return=/b')).status).toBe(400);
    const begun = await lab.send('GET', '/login?return=/api/runs', undefined, {
      'x-forwarded-host': 'evil.example',
    });
    const redirect = new URL(begun.headers.get('location') ?? '').searchParams.get('redirect_uri');
    expect(redirect).toBe(`${lab.url}/callback`);
  });

  it('O11: a login makes a new session, the one before it is gone, and so is the one that was logged out', async () => {
    const browser = await logIn('lin');
    const before = cookieOf(browser);
    const last = await browser.travel(`${lab.url}/login`, 'lin', isCallback);
    await browser.visit(last.location ?? '');
    const after = cookieOf(browser);
    expect(after).not.toBe(before);
    const old = new Browser();
    old.jar.set(`${lab.url} beacon`, before);
    expect((await me(old)).status).toBe(401);
    // What nobody gave out is nobody's.
    const fixed = new Browser();
    fixed.jar.set(`${lab.url} beacon`, `${'A'.repeat(43)}.${'A'.repeat(43)}`);
    expect((await me(fixed)).status).toBe(401);

    const page = await browser.visit(`${lab.url}/`);
    const form = formOf(page.text);
    const gone = await browser.visit(`${lab.url}/logout`, { form: form?.fields ?? {} });
    expect(gone.text).toContain('here and at the certificate authority');
    old.jar.set(`${lab.url} beacon`, after);
    expect((await me(old)).status).toBe(401);
  });

  it('W2: changes nothing for a page of another site, nor for a link', async () => {
    const browser = await logIn('lin');
    const refusals: [string, Record<string, string>][] = [
      ['another origin', { origin: 'https://evil.example' }],
      ['no origin', { origin: '' }],
      ['a null origin', { origin: 'null' }],
      ['no header', { 'x-beacon-csrf': '' }],
      ['another header', { 'x-beacon-csrf': '0' }],
      ['another site', { 'sec-fetch-site': 'cross-site' }],
      ['a neighbour', { 'sec-fetch-site': 'same-site' }],
    ];
    for (const [what, headers] of refusals) {
      const refused = await post(browser, '/api/runs', headers);
      expect([what, refused.status]).toEqual([what, 403]);
    }
    expect(JSON.parse((await browser.visit(`${lab.url}/api/runs`)).text)).toEqual({ runs: [] });
    const made = await post(browser, '/api/runs', {});
    expect(made.status).toBe(201);
    const { id, service } = (await made.json()) as Record<string, unknown>;
    expect(service).toBeUndefined();
    for (const verb of ['cancel', 'look', 'undo', 'resume', 'retry']) {
      expect((await browser.visit(`${lab.url}/api/runs/${String(id)}/${verb}`)).status).toBe(405);
      expect((await post(browser, `/api/runs/${String(id)}/${verb}`, { origin: 'null' })).status).toBe(403);
    }
    const page = await browser.visit(`${lab.url}/`);
    const fields = formOf(page.text)?.fields ?? {};
    for (const init of [
      { form: {} },
      { form: { form: 'x' } },
      { form: fields, headers: { origin: 'https://evil.example' } },
      { form: fields, headers: { 'sec-fetch-site': 'cross-site' } },
    ])
      expect((await browser.visit(`${lab.url}/logout`, init)).status).toBe(403);
    expect((await browser.visit(`${lab.url}/logout`)).status).toBe(404);
    // The cookie does not come along from another site; nor may the answer take it away.
    for (const headers of [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }]) {
      const refused = await new Browser().visit(`${lab.url}/logout`, { form: {}, headers });
      expect([refused.status, refused.headers.getSetCookie()]).toEqual([403, []]);
    }
    expect((await me(browser)).status).toBe(200);
  });

  it('does not take the cookie where a token is asked for, nor a token where the cookie is', async () => {
    const browser = await logIn('lin');
    expect((await browser.visit(`${lab.url}/v1/runs`)).status).toBe(401);
    const lin = await lab.login('lin');
    expect((await lab.ask(lin, 'GET', '/api/runs')).status).toBe(401);
  });

  it('O13: neither the cookie nor the store alone yields a token, and half a cookie is none', async () => {
    const browser = await logIn('lin');
    const [id = '', key = ''] = cookieOf(browser).split('.');
    const stored = lab.storedBytes().toString('latin1');
    const tokens = lab.ca.storedBytes();
    expect(tokens.length).toBeGreaterThan(0);
    for (const secret of [id, key]) expect(stored.includes(secret)).toBe(false);
    expect(stored).not.toMatch(/accessToken|refreshToken|"d":/);
    // Whoever has the store and the id, but not the key, neither uses the session nor ends it.
    const thief = new Browser();
    thief.jar.set(`${lab.url} beacon`, `${id}.${'B'.repeat(43)}`);
    expect((await me(thief)).status).toBe(401);
    expect((await me(browser)).status).toBe(200);
    // Whoever has store and cookie, but not the broker's own key, has nothing either.
    await lab.down();
    await lab.up({ keys: { ...lab.keys, sealing: Buffer.alloc(32, 8) } });
    expect((await me(browser)).status).toBe(401);
    await lab.down();
    await lab.up();
    expect((await me(browser)).status).toBe(200);
    const kept = `${lab.logs.join('\n')}\n${lab.storedBytes().toString('latin1')}`;
    for (const secret of [id, key]) expect(kept.includes(secret)).toBe(false);
  });

  it('renews its tokens once, however many requests come at the same time', async () => {
    const browser = await logIn('lin');
    const { store } = lab.ca.running.ca;
    await store.deleteFrom('oauth_artifacts').where('model', '=', 'AccessToken').execute();
    const hosts = () => browser.visit(`${lab.url}/api/hosts`);
    const answers = await Promise.all(Array.from({ length: 8 }, hosts));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200));
    expect((await hosts()).status).toBe(200);
  });

  it("W5: a session ends with the person's at the CA, when it is not used, and after its hours in any case", async () => {
    const { clock } = lab.ca;
    const ended = await logIn('kim');
    const [idle, used] = [await logIn('lin'), await logIn('lin')];
    const { commit, sessions, store } = lab.ca.running.ca;
    const open = await store.selectFrom('sessions').select('id').where('person', '=', 'github:105').execute();
    for (const { id } of open) await commit.write((tx) => sessions.end(tx, id, 'person'));
    // Not because it was not used: it is young.
    clock.offsetMs += 61_000;
    expect([(await me(ended)).status, (await me(used)).status]).toEqual([401, 200]);
    for (let minutes = 0; minutes < 6; minutes += 2) {
      clock.offsetMs += 2 * 60_000;
      expect((await me(used)).status).toBe(200);
    }
    expect((await me(idle)).status).toBe(401);
    const rows = await lab.broker.store.selectFrom('portal_sessions').select('person').execute();
    expect(rows.filter(({ person }) => person === 'github:105')).toEqual([]);
    clock.offsetMs += 8 * 3_600_000;
    expect((await me(used)).status).toBe(401);
  });
});
