import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type App, type Standin, startStandin } from '../src/index.ts';

const configuration = {
  apps: [{ client_id: 'Iv1', client_secret: 'standin-secret', callback_urls: ['http://127.0.0.1:1/cb'] }],
  persons: [
    { id: 1, login: 'mona' },
    { id: 2, login: 'hubot' },
  ],
  organizations: [
    {
      id: 42,
      login: 'acme',
      members: ['mona', { login: 'hubot', state: 'pending' }],
      apps: ['Iv1'],
      teams: [{ id: 7, slug: 'ops', members: ['mona'] }],
    },
  ],
};

let standin: Standin;
let app: App;
let token: string;

beforeEach(async () => {
  standin = await startStandin({ configuration });
  app = standin.state.app('Iv1');
  token = standin.state.mintToken({ clientId: app.clientId, person: 1 }).token;
});
afterEach(() => standin.close());

const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(`${standin.url}${path}`, { headers: { authorization: `bearer ${token}`, ...headers } });

const asApp = (method: string, path: string, given: string, client: App = app) =>
  fetch(`${standin.url}/applications/${path}`, {
    method,
    headers: {
      authorization: `basic ${Buffer.from(`${client.clientId}:${client.clientSecret}`).toString('base64')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ access_token: given }),
  });

describe('the REST API', () => {
  it('answers at the root and below /api/v3, with rate limit headers', async () => {
    for (const prefix of ['', '/api/v3']) {
      const response = await get(`${prefix}/user`);
      expect(await response.json()).toMatchObject({ id: 1, login: 'mona', type: 'User' });
      expect(response.headers.get('x-ratelimit-remaining')).toBe('4999');
    }
    expect((await fetch(`${standin.url}/user`)).status).toBe(401);
  });

  it('pages by Link, at most a hundred rows a page', async () => {
    for (let i = 0; i < 205; i++) {
      const { id } = standin.state.addOrganization({ login: `o${i}` });
      standin.state.setMember(id, 1, 'active');
      standin.state.installApp(id, app.clientId);
    }
    let url = '/api/v3/user/orgs?per_page=500';
    const lengths: number[] = [];
    while (url !== '') {
      const response = await get(url);
      const rows = (await response.json()) as unknown[];
      lengths.push(rows.length);
      const next = /<([^>]+)>; rel="next"/.exec(response.headers.get('link') ?? '')?.[1];
      url = next?.slice(standin.url.length) ?? '';
      expect(lengths.length).toBeLessThan(5);
    }
    expect(lengths).toEqual([100, 100, 6]);
  });

  it('answers 304 to a matching If-None-Match, and 200 after a change', async () => {
    const etag = (await get('/user/teams')).headers.get('etag') ?? '';
    expect((await get('/user/teams', { 'if-none-match': etag })).status).toBe(304);
    standin.state.setTeamMember(7, 1, false);
    expect((await get('/user/teams', { 'if-none-match': etag })).status).toBe(200);
  });

  it('tells pending from active memberships', async () => {
    token = standin.state.mintToken({ clientId: app.clientId, person: 2 }).token;
    const states = async (query: string) => {
      const rows = (await (await get(`/user/memberships/orgs${query}`)).json()) as { state: string }[];
      return rows.map(({ state }) => state);
    };
    expect(await states('')).toEqual(['pending']);
    expect(await states('?state=active')).toEqual([]);
    expect((await get('/user/memberships/orgs?state=maybe')).status).toBe(422);
    expect(await (await get('/user/orgs')).json()).toEqual([]);
  });

  it('hides an organisation behind single sign-on and says so', async () => {
    standin.state.setSso(42, true);
    const list = await get('/user/teams');
    expect(list.headers.get('x-github-sso')).toBe('partial-results; organizations=42');
    expect(await list.json()).toEqual([]);
    const one = await get('/user/memberships/orgs/acme');
    expect(one.status).toBe(403);
    expect(one.headers.get('x-github-sso')).toMatch(/^required; url=/);
  });

  it('hides an organisation where the app is not installed', async () => {
    standin.state.uninstallApp(42, app.clientId);
    expect(await (await get('/user/memberships/orgs')).json()).toEqual([]);
    expect(await (await get('/user/installations')).json()).toEqual({ total_count: 0, installations: [] });
    expect((await get('/user/memberships/orgs/acme')).status).toBe(403);
  });

  it('O6: gives an old login to whoever takes it', async () => {
    standin.state.renamePerson(1, 'lisa');
    standin.state.renamePerson(2, 'mona');
    expect(await (await get('/users/mona')).json()).toMatchObject({ id: 2 });
    expect(await (await get('/user/1')).json()).toMatchObject({ login: 'lisa' });
    expect(() => standin.state.renamePerson(1, 'MONA')).toThrow(expect.objectContaining({ code: 'taken' }));
  });
});

describe("an app's own tokens", () => {
  it('can be checked and deleted by that app alone', async () => {
    const other = standin.state.addApp({ callbackUrls: ['http://127.0.0.1:1/cb'] });
    expect((await asApp('POST', 'Iv1/token', token)).status).toBe(200);
    expect((await asApp('POST', `${other.clientId}/token`, token, other)).status).toBe(404);
    expect((await asApp('POST', 'Iv1/token', token, other)).status).toBe(404);
    expect((await asApp('POST', 'Iv1/token', token, { ...app, clientSecret: 'x' })).status).toBe(401);
    expect((await asApp('DELETE', `${other.clientId}/token`, token, other)).status).toBe(404);
    expect((await asApp('DELETE', 'Iv1/token', token)).status).toBe(204);
    expect((await get('/user')).status).toBe(401);
    expect((await asApp('DELETE', 'Iv1/token', token)).status).toBe(404);
  });

  it('all end when the grant is deleted', async () => {
    const second = standin.state.mintToken({ clientId: 'Iv1', person: 1 }).token;
    expect((await asApp('DELETE', 'Iv1/grant', second)).status).toBe(204);
    expect((await get('/user')).status).toBe(401);
  });
});

describe('faults', () => {
  it('strike their path as often as they are told to, with and without the prefix', async () => {
    standin.state.fault({ path: '/user', effect: { kind: 'answer', status: 503, body: {} }, times: 2 });
    expect((await get('/api/v3/user')).status).toBe(503);
    expect((await get('/user/teams')).status).toBe(200);
    expect((await get('/user')).status).toBe(503);
    expect((await get('/user')).status).toBe(200);
  });

  it('reset, cut, truncate and delay', async () => {
    const { state } = standin;
    state.fault({ path: '/user', effect: { kind: 'reset' }, times: 1 });
    await expect(get('/user')).rejects.toThrow();
    state.fault({ path: '/user', effect: { kind: 'cut' }, times: 1 });
    await expect(get('/user').then((response) => response.text())).rejects.toThrow();
    state.fault({ path: '/user', effect: { kind: 'truncated-json' }, times: 1 });
    await expect(get('/user').then((response) => response.json())).rejects.toThrow();
    state.fault({ path: '/user', effect: { kind: 'delay', delayMs: 100 }, times: 1 });
    const before = performance.now();
    expect((await get('/user')).status).toBe(200);
    expect(performance.now() - before).toBeGreaterThan(90);
  });
});

describe("the stand-in's own door", () => {
  const act = (action: string, body: unknown) =>
    fetch(`${standin.url}/_standin/${action}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });

  it('changes the state over HTTP', async () => {
    expect((await act('set-team-member', { team: 7, person: 1, member: false })).status).toBe(200);
    expect(await (await get('/user/teams')).json()).toEqual([]);
    const answer = await act('mint-token', { client_id: 'Iv1', person: 2 });
    const minted = (await answer.json()) as { result: { token: string } };
    expect(standin.state.findToken(minted.result.token)?.person).toBe(2);
    expect((await act('set-sso', { organization: 1, enforced: true })).status).toBe(404);
    expect((await act('set-sso', { organization: 42 })).status).toBe(400);
    expect((await act('open-sesame', {})).status).toBe(404);
  });

  it('refuses a configuration with an unknown key', async () => {
    await expect(startStandin({ configuration: { person: [] } })).rejects.toMatchObject({
      code: 'configuration',
    });
  });
});
