import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { failureOf, MONA, makeWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await makeWorld();
});
afterEach(() => world.standin.close());

const CHECK = '/applications/*';

describe('checking a token', () => {
  it("accepts our app's, and tells whose it is and until when", async () => {
    const checked = await world.github.checkToken(world.mint());
    expect(checked).toMatchObject({ person: `github:${MONA}`, login: 'mona', scopes: [] });
    const hours = ((checked.expiresAt?.getTime() ?? 0) - Date.now()) / 3_600_000;
    expect(hours).toBeGreaterThan(7.9);
  });

  it('O4: refuses the token of another app, although it reads /user', async () => {
    const { state } = world.standin;
    const foreign = state.addApp({ kind: 'oauth-app', callbackUrls: ['https://evil.example/'] });
    const { token } = state.mintToken({ clientId: foreign.clientId, person: MONA });
    expect((await world.github.readIdentity(token)).person).toBe(`github:${MONA}`);
    expect((await failureOf(world.github.checkToken(token))).code).toBe('foreign-token');
  });

  it('O4: refuses an answer that names another app, or another token', async () => {
    const token = world.mint();
    const good = { token, app: { client_id: world.app.clientId }, user: { id: 1, login: 'a', type: 'User' } };
    for (const change of [{ app: { client_id: 'Iv1.other' } }, { token: `${token}x` }]) {
      world.standin.state.clearFaults();
      world.standin.state.fault({
        path: CHECK,
        effect: { kind: 'answer', status: 200, body: { ...good, ...change } },
      });
      expect((await failureOf(world.github.checkToken(token))).code).toBe('foreign-token');
    }
  });

  it('refuses a token that was revoked, and one that has ended', async () => {
    const token = world.mint();
    world.standin.state.revokeToken(token);
    expect((await failureOf(world.github.checkToken(token))).code).toBe('foreign-token');
  });

  it("tells our app's wrong secret from a wrong token", async () => {
    const github = world.connect({ clientSecret: () => 'wrong' });
    expect((await failureOf(github.checkToken(world.mint()))).code).toBe('app-refused');
    expect((await failureOf(github.deleteToken(world.mint()))).code).toBe('app-refused');
  });

  it.each([
    ['no person', { user: null }],
    ['an end that is no time', { expires_at: 'soon' }],
    ['an end that is a number', { expires_at: 5 }],
    ['scopes that are no list', { scopes: 'read:org' }],
  ])('refuses an answer with %s', async (_what, change) => {
    const token = world.mint();
    const body = { token, app: { client_id: world.app.clientId }, user: { id: 1, login: 'a', type: 'User' } };
    world.standin.state.fault({
      path: CHECK,
      effect: { kind: 'answer', status: 200, body: { ...body, ...change } },
    });
    expect((await failureOf(world.github.checkToken(token))).code).toBe('malformed');
  });

  it('refuses what is no token before asking', async () => {
    for (const text of ['', 'gho_short', 'gho_aaaaaaaaaaaaaaaaaaaaaa\r\nx: y', 'x'.repeat(300)]) {
      expect((await failureOf(world.github.checkToken(text))).code).toBe('unauthorized');
      expect((await failureOf(world.github.readIdentity(text))).code).toBe('unauthorized');
    }
    expect(world.standin.state.requests).toEqual([]);
  });
});

describe('deleting a token', () => {
  it('ends it at GitHub, and is no error the second time', async () => {
    const token = world.mint();
    await world.github.deleteToken(token);
    expect((await failureOf(world.github.readIdentity(token))).code).toBe('unauthorized');
    await world.github.deleteToken(token);
  });

  it('takes a 422 for gone only when a check says so', async () => {
    const token = world.mint();
    world.standin.state.fault({
      method: 'DELETE',
      path: CHECK,
      effect: { kind: 'answer', status: 422, body: { message: 'Validation Failed' } },
    });
    expect((await failureOf(world.github.deleteToken(token))).code).toBe('malformed');
    world.standin.state.revokeToken(token);
    await world.github.deleteToken(token);
  });

  it('is not done when GitHub answers anything else', async () => {
    for (const status of [200, 202, 302]) {
      world.standin.state.clearFaults();
      world.standin.state.fault({ path: CHECK, effect: { kind: 'answer', status, body: {} } });
      expect((await failureOf(world.github.deleteToken(world.mint()))).code).toBe('malformed');
    }
  });

  it('does not make one person wait for another', async () => {
    const tokens = Array.from({ length: 20 }, () => world.mint());
    let underWay = 0;
    let goOn: () => void = () => undefined;
    const allAsk = new Promise<void>((resolve) => (goOn = resolve));
    const fetch: typeof globalThis.fetch = async (input, init) => {
      if (++underWay === tokens.length) goOn();
      await allAsk;
      return globalThis.fetch(input, init);
    };
    const github = world.connect({ fetch });
    await Promise.all(tokens.map((token) => github.deleteToken(token)));
    expect(world.standin.state.tokens.size).toBe(0);
  });
});
