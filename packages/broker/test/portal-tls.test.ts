/**
 * The portal where the broker speaks TLS itself: its cookies are of the kind that a browser binds to this very server and to
 * TLS, and under any other name they are nobody's.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { makeTlsPair } from '../../../infra/demo/tls-pair.ts';
import { Browser, HttpLab } from './http-lab.ts';

const TICKET = '[A-Za-z0-9_-]{43}[.][A-Za-z0-9_-]{43}';

describe('the portal over TLS', () => {
  const folder = mkdtempSync(join(tmpdir(), 'beacon-portal-tls-'));
  let lab: HttpLab;

  beforeAll(async () => {
    const { certificate, key } = makeTlsPair(join(folder, 'tls'), '127.0.0.1');
    lab = await HttpLab.start({}, { certificate: readFileSync(certificate), key: readFileSync(key) });
  });
  afterAll(async () => {
    await lab?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const cookie = (browser: Browser, name: string) => browser.jar.get(`${lab.url} ${name}`) ?? '';
  const caller = (header: string) => lab.send('GET', '/api/caller', undefined, { cookie: header });

  async function upToCallback(): Promise<{ browser: Browser; callback: string }> {
    const browser = new Browser();
    const isCallback = (url: string) => url.startsWith(`${lab.url}/callback`);
    const last = await browser.travel(`${lab.url}/login`, 'lin', isCallback);
    return { browser, callback: last.location ?? '' };
  }

  async function logIn(): Promise<Browser> {
    const { browser, callback } = await upToCallback();
    expect((await browser.visit(callback)).status).toBe(200);
    return browser;
  }

  it('W5: logs a person in with cookies that are bound to this server and to TLS, and forgets them as such', async () => {
    expect(lab.url).toMatch(/^https:/);
    const browser = await logIn();
    // Others are the CA's, which speaks plain http here.
    const set = browser.setCookies.filter((line) => /beacon(-login)?=/.test(line));
    expect(set.filter((line) => !line.startsWith('__Host-'))).toEqual([]);
    const [begun] = set;
    expect(begun).toMatch(
      new RegExp(`^__Host-beacon-login=${TICKET}; Path=/; Max-Age=900; HttpOnly; SameSite=Lax; Secure$`),
    );
    expect(set.find((line) => line.startsWith('__Host-beacon='))).toMatch(
      new RegExp(`^__Host-beacon=${TICKET}; Path=/; Max-Age=\\d+; HttpOnly; SameSite=Strict; Secure$`),
    );
    const me = await browser.visit(`${lab.url}/api/caller`);
    expect(JSON.parse(me.text)).toMatchObject({ person: 'github:102' });
    expect(me.headers.get('strict-transport-security')).toMatch(/^max-age=\d{7,}/);
    const out = await lab.send('DELETE', '/api/session', undefined, {
      ...{
        cookie: `__Host-beacon=${cookie(browser, '__Host-beacon')}`,
        origin: lab.url,
        'x-beacon-csrf': '1',
      },
    });
    expect([out.status, out.headers.get('set-cookie')]).toEqual([
      ...[204, '__Host-beacon=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure'],
    ]);
  });

  it('W5: takes the ticket under no other name, which a page of another server or plain http could have set', async () => {
    const ticket = cookie(await logIn(), '__Host-beacon');
    expect((await caller(`__Host-beacon=${ticket}`)).status).toBe(200);
    for (const name of ['beacon', '__Secure-beacon', '__host-beacon', ' __Host-beacon-login'])
      expect((await caller(`${name}=${ticket}`)).status).toBe(401);
    // Beside the right one it counts for nothing.
    expect((await caller(`beacon=${'x'.repeat(43)}.${'x'.repeat(43)}; __Host-beacon=${ticket}`)).status).toBe(
      200,
    );
  });

  it('W5: ends no login whose own cookie comes under another name', async () => {
    const { browser, callback } = await upToCallback();
    const begun = cookie(browser, '__Host-beacon-login');
    const { pathname, search } = new URL(callback);
    const refused = await lab.send('GET', `${pathname}${search}`, undefined, {
      cookie: `beacon-login=${begun}`,
    });
    expect([refused.status, refused.headers.get('set-cookie') ?? '']).toEqual([
      403,
      expect.not.stringMatching(new RegExp(`beacon=${TICKET}`)),
    ]);
  });

  it('answers nothing in plain http', async () => {
    await expect(fetch(`${lab.url.replace('https:', 'http:')}/healthz`)).rejects.toThrow();
  });
});
