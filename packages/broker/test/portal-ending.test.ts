/** How a login by browser ends: by its person, whatever the CA says, and for whoever still watches with it. */
import { createSealer } from '@beacon/server';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createAuthenticate } from '../src/authenticate.ts';
import { createExchanges } from '../src/exchanged.ts';
import { cookieForm } from '../src/portal-cookie.ts';
import { createPortalSessions } from '../src/portal-session.ts';
import { Browser, formOf, HttpLab } from './http-lab.ts';

describe('a login of the portal', () => {
  let lab: HttpLab;

  beforeAll(async () => {
    lab = await HttpLab.start({ idleMs: 3 * 60_000 });
  });
  afterAll(() => lab.close());

  async function logIn(person: string): Promise<Browser> {
    const browser = new Browser();
    const last = await browser.travel(`${lab.url}/login`, person, (url) =>
      url.startsWith(`${lab.url}/callback`),
    );
    expect((await browser.visit(last.location ?? '')).status).toBe(200);
    return browser;
  }

  const cookieOf = (browser: Browser) => browser.jar.get(`${lab.url} beacon`) ?? '';
  const me = (browser: Browser) => browser.visit(`${lab.url}/api/caller`);

  it('W5: logs out also while the CA has been silent for long, by the page and by the interface', async () => {
    const [byPage, byInterface] = [await logIn('lin'), await logIn('lin')];
    const fields = formOf((await byPage.visit(`${lab.url}/`)).text)?.fields ?? {};
    const cookies = [cookieOf(byPage), cookieOf(byInterface)];
    const end = (headers: Record<string, string>) =>
      fetch(`${lab.url}/api/session`, {
        method: 'DELETE',
        headers: { 'x-beacon-csrf': '1', origin: lab.url, cookie: `beacon=${cookies[1]}`, ...headers },
      });
    expect((await end({ origin: 'https://evil.example' })).status).toBe(403);
    await lab.ca.down();
    const before = lab.ca.clock.offsetMs;
    try {
      lab.ca.clock.offsetMs += 6 * 60_000;
      await lab.broker.store
        .updateTable('portal_sessions')
        .set({ seen_at: lab.ca.clock.now().getTime() })
        .execute();
      expect((await me(byPage)).status).toBe(503);
      const page = await byPage.visit(`${lab.url}/logout`, { form: fields });
      expect([page.status, page.text]).toEqual([200, expect.stringContaining('could not be told')]);
      expect((await end({})).status).toBe(204);
    } finally {
      lab.ca.clock.offsetMs = before;
      await lab.caUp();
    }
    for (const cookie of cookies) {
      const thief = new Browser();
      thief.jar.set(`${lab.url} beacon`, cookie);
      expect((await me(thief)).status).toBe(401);
    }
  });

  it('W5: who watches goes when the login does, when the CA is silent for long, and is not taken for somebody at work', async () => {
    const { ca, store, commit } = lab.broker;
    const sealer = createSealer(lab.keys.sealing);
    const redirectUri = `${lab.url}/callback`;
    const sessions = createPortalSessions({ ca, store, commit, sealer, redirectUri, idleMs: 3 * 60_000 });
    const form = cookieForm(lab.url, 'beacon', 'Strict');
    const exchanges = createExchanges(ca);
    const authenticate = createAuthenticate({
      publicUrl: lab.url,
      ca,
      commit,
      exchanges,
      portal: sessions,
      cookie: form,
    });
    const comes = (browser: Browser) =>
      authenticate(
        {
          request: { method: 'GET', url: lab.url, headers: { cookie: `beacon=${cookieOf(browser)}` } },
          rawBody: Buffer.alloc(0),
        } as unknown as Parameters<typeof authenticate>[0],
        'portal',
      );
    const [leaving, idle, silent] = [await logIn('lin'), await logIn('lin'), await logIn('lin')];
    const [watcher, left] = [await comes(leaving), await comes(idle)];
    expect(await watcher.isStillThere()).toBe(true);
    const fields = formOf((await leaving.visit(`${lab.url}/`)).text)?.fields ?? {};
    await leaving.visit(`${lab.url}/logout`, { form: fields });
    expect(await watcher.isStillThere()).toBe(false);

    const before = lab.ca.clock.offsetMs;
    for (const minute of [1, 2, 3]) {
      lab.ca.clock.offsetMs = before + minute * 61_000;
      expect([minute, await left.isStillThere()]).toEqual([minute, minute < 3]);
    }
    lab.ca.clock.offsetMs = before;
    const unheard = await comes(silent);
    await lab.ca.down();
    try {
      lab.ca.clock.offsetMs = before + 2 * 61_000;
      expect(await unheard.isStillThere()).toBe(true);
      lab.ca.clock.offsetMs = before + 6 * 60_000;
      await store.updateTable('portal_sessions').set({ seen_at: lab.ca.clock.now().getTime() }).execute();
      expect(await unheard.isStillThere()).toBe(false);
    } finally {
      lab.ca.clock.offsetMs = before;
      await lab.caUp();
    }
    expect(await unheard.isStillThere()).toBe(true);
  });

  it('Q1: lets one address begin so many logins a minute, for each is written down', async () => {
    const statuses: number[] = [];
    for (let at = 0; at < 31; at += 1) statuses.push((await lab.send('GET', '/login')).status);
    expect(statuses.at(-1)).toBe(429);
  });
});
