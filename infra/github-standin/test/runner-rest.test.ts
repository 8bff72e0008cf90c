import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { namedFault, runnerArchive, type Standin, startStandin } from '../src/index.ts';

const configuration = {
  apps: [{ client_id: 'Iv1', client_secret: 'standin-secret', callback_urls: ['http://127.0.0.1:1/cb'] }],
  persons: [
    { id: 1, login: 'mona' },
    { id: 2, login: 'hubot' },
    { id: 3, login: 'stranger' },
  ],
  organizations: [
    {
      id: 42,
      login: 'acme',
      members: ['mona', 'hubot'],
      owners: ['mona'],
      apps: ['Iv1'],
      runner_groups: ['linux'],
      repositories: [
        { id: 5, name: 'site', writers: ['hubot'] },
        { id: 6, name: 'tools', public: true, admins: ['hubot'] },
      ],
    },
  ],
};
const SITE = '/repos/acme/site/actions/runners';
const ACME = '/orgs/acme/actions/runners';

let standin: Standin;
let clock: number;

beforeEach(async () => {
  clock = Date.UTC(2026, 10, 22);
  standin = await startStandin({ configuration, now: () => new Date(clock) });
});
afterEach(() => standin.close());

const as =
  (person: number) =>
  (method: string, path: string, body?: unknown): Promise<Response> => {
    const { token } = standin.state.mintToken({ clientId: 'Iv1', person });
    return fetch(`${standin.url}${path}`, {
      method,
      headers: { authorization: `bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  };
const mona = as(1);
const hubot = as(2);
const statusOf = async (asked: Promise<Response>): Promise<number> => (await asked).status;
async function bodyOf<Body = Record<string, unknown>>(asked: Promise<Response>): Promise<Body> {
  return (await (await asked).json()) as Body;
}
const tokenOf = async (path: string): Promise<string> =>
  (await bodyOf<{ token: string }>(mona('POST', `${SITE}/${path}`))).token;

function add(name: string, labels: readonly string[] = ['beacon']) {
  return standin.state.runners.register(
    { kind: 'repository', id: 5 },
    { name, labels, hasDefaultLabels: true, group: undefined, isEphemeral: false, version: '2.336.0' },
  );
}

describe('who may administer runners', () => {
  it.each([
    ['a repository', SITE],
    ['an organisation', ACME],
  ])('an owner of the organisation, at %s, and nobody else', async (_, path) => {
    expect(await statusOf(mona('GET', path))).toBe(200);
    const refused = await hubot('GET', path);
    expect(refused.status).toBe(403);
    expect(await refused.text()).toMatch(/Must have admin rights/);
    expect(await statusOf(as(3)('GET', path))).toBe(404);
    expect((await fetch(`${standin.url}${path}`)).status).toBe(401);
  });

  it('an administrator of the repository, there alone', async () => {
    expect(await statusOf(hubot('GET', '/repos/acme/tools/actions/runners'))).toBe(200);
    expect(await statusOf(hubot('POST', '/repos/acme/tools/actions/runners/registration-token'))).toBe(201);
    expect(await statusOf(hubot('POST', `${SITE}/registration-token`))).toBe(403);
  });

  it('nobody by an app without the permission, which is named', async () => {
    standin.state.setRunnerPermission(42, 'Iv1', false);
    const [repository, organization] = [
      await mona('GET', SITE),
      await mona('POST', `${ACME}/registration-token`),
    ];
    expect([repository.status, organization.status]).toEqual([403, 403]);
    expect(repository.headers.get('x-accepted-github-permissions')).toBe('administration=read');
    expect(organization.headers.get('x-accepted-github-permissions')).toBe(
      'organization_self_hosted_runners=write',
    );
    standin.state.setRunnerPermission(42, 'Iv1', 'read');
    expect(await statusOf(mona('GET', SITE))).toBe(200);
    expect(await statusOf(mona('POST', `${SITE}/registration-token`))).toBe(403);
    standin.state.uninstallApp(42, 'Iv1');
    expect(await statusOf(mona('GET', SITE))).toBe(403);
  });

  it('nobody before single sign-on', async () => {
    standin.state.setSso(42, true);
    const refused = await mona('GET', ACME);
    expect(refused.status).toBe(403);
    expect(refused.headers.get('x-github-sso')).toMatch(/^required; url=/);
  });
});

describe('where a person may add runners', () => {
  it('is in the repositories of an installation, and in the role of a membership', async () => {
    const { installations } = await bodyOf<{ installations: { id: number }[] }>(
      mona('GET', '/user/installations'),
    );
    expect(installations).toMatchObject([
      { permissions: { administration: 'write', organization_self_hosted_runners: 'write' } },
    ]);
    const { id } = installations[0] ?? { id: 0 };
    expect(await bodyOf(mona('GET', `/user/installations/${id}/repositories`))).toMatchObject({
      total_count: 2,
      repositories: [
        { full_name: 'acme/site', private: true, permissions: { admin: true } },
        { full_name: 'acme/tools', private: false, permissions: { admin: true } },
      ],
    });
    expect(await bodyOf(hubot('GET', `/user/installations/${id}/repositories`))).toMatchObject({
      repositories: [{ permissions: { admin: false, push: true } }, { permissions: { admin: true } }],
    });
    expect(await statusOf(as(3)('GET', `/user/installations/${id}/repositories`))).toBe(404);
    expect(await bodyOf(mona('GET', '/user/memberships/orgs/acme'))).toMatchObject({ role: 'admin' });
    expect(await bodyOf(hubot('GET', '/user/memberships/orgs/acme'))).toMatchObject({ role: 'member' });
  });

  it('is said of one repository, to whom it is visible', async () => {
    expect(await bodyOf(hubot('GET', '/repos/acme/tools'))).toMatchObject({ permissions: { admin: true } });
    expect(await bodyOf(as(3)('GET', '/repos/acme/tools'))).toMatchObject({ permissions: { admin: false } });
    expect(await statusOf(as(3)('GET', '/repos/acme/site'))).toBe(404);
  });
});

describe('tokens', () => {
  it.each(['registration-token', 'remove-token'])('%s is of an hour, and a canary', async (path) => {
    const { token, expires_at } = await bodyOf(mona('POST', `${SITE}/${path}`));
    expect(expires_at).toBe('2026-11-22T01:00:00.000Z');
    expect(standin.state.canaries).toContain(token);
  });

  it('register in their own scope and hour alone: else an opaque 404', async () => {
    const token = await tokenOf('registration-token');
    const removal = await tokenOf('remove-token');
    const register = (given: string, path: string, name: string, more: Record<string, string> = {}) =>
      statusOf(
        fetch(`${standin.url}/api/v3/actions/runner-registration`, {
          method: 'POST',
          headers: { authorization: `RemoteAuth ${given}` },
          body: new URLSearchParams({ url: `${standin.url}/${path}`, name, version: '2.336.0', ...more }),
        }),
      );
    expect(await register(token, 'acme/site', 'one')).toBe(200);
    expect(await register(token, 'acme/site', 'one')).toBe(409);
    expect(await register(token, 'acme/site', 'two', { group: 'nowhere' })).toBe(422);
    expect(await register(token, 'acme/tools', 'two')).toBe(404);
    expect(await register(token, 'acme', 'two')).toBe(404);
    expect(await register(removal, 'acme/site', 'two')).toBe(404);
    expect(await register('NONE', 'acme/site', 'two')).toBe(404);
    clock += 3_600_000;
    expect(await register(token, 'acme/site', 'two')).toBe(404);
  });
});

describe('runners', () => {
  it('are listed in pages, by name, and one by one; in their own scope alone', async () => {
    for (let number = 1; number <= 5; number += 1) add(`r-${number}`);
    const page = await mona('GET', `${SITE}?per_page=2&page=2`);
    expect(page.headers.get('link')).toMatch(/page=3>; rel="next"/);
    const { total_count, runners } = (await page.json()) as { total_count: number; runners: object[] };
    expect([total_count, runners]).toMatchObject([5, [{ name: 'r-3' }, { name: 'r-4' }]]);
    const { runners: named } = await bodyOf<{ runners: { id: number }[] }>(mona('GET', `${SITE}?name=r-5`));
    expect(named).toMatchObject([{ status: 'offline', busy: false, ephemeral: false, runner_group_id: 1 }]);
    const { id } = named[0] ?? { id: 0 };
    expect(await bodyOf(mona('GET', `${SITE}/${id}`))).toMatchObject({ name: 'r-5', os: 'linux' });
    expect(await statusOf(mona('GET', `${ACME}/${id}`))).toBe(404);
  });

  it('are deleted, but not in the middle of a job', async () => {
    const { id } = add('busy');
    const runner = standin.state.runners.runners.get(id);
    if (runner === undefined) throw new Error('it was just made');
    standin.state.runners.openSession(runner);
    const job = standin.state.runners.queueJob({
      scope: { kind: 'repository', id: 5 },
      labels: ['BEACON'],
      script: ':',
    });
    await standin.state.runners.nextMessage(runner, 0);
    expect(await bodyOf(mona('GET', `${SITE}/${id}`))).toMatchObject({ status: 'online', busy: true });
    const refused = await mona('DELETE', `${SITE}/${id}`);
    expect(refused.status).toBe(422);
    expect(await refused.text()).toMatch(/is currently running a job and cannot be deleted/);
    standin.state.runners.finishJob(runner, job.id, 0, '');
    expect(await statusOf(mona('DELETE', `${SITE}/${id}`))).toBe(204);
    expect(await statusOf(mona('DELETE', `${SITE}/${id}`))).toBe(404);
  });

  it('are offline when they were not heard for half a minute: a busy one that died stays busy', async () => {
    const runner = add('zombie');
    standin.state.runners.openSession(runner);
    standin.state.runners.queueJob({ scope: runner.scope, labels: [], script: ':' });
    await standin.state.runners.nextMessage(runner, 0);
    clock += 30_000;
    expect(await bodyOf(mona('GET', `${SITE}/${runner.id}`))).toMatchObject({
      status: 'offline',
      busy: true,
    });
    expect(await statusOf(mona('DELETE', `${SITE}/${runner.id}`))).toBe(422);
  });

  it('have custom labels that are added, replaced and taken away, beside the fixed ones', async () => {
    const { id } = add('labelled');
    const names = async (method: string, body?: object) => {
      const asked = mona(method, `${SITE}/${id}/labels`, body);
      return (await bodyOf<{ labels: { name: string }[] }>(asked)).labels.map(({ name }) => name);
    };
    const fixed = ['self-hosted', 'Linux', 'X64'];
    expect(await names('GET')).toEqual([...fixed, 'beacon']);
    expect(await names('POST', { labels: ['gpu'] })).toEqual([...fixed, 'beacon', 'gpu']);
    expect(await names('PUT', { labels: ['other'] })).toEqual([...fixed, 'other']);
    expect(await names('DELETE')).toEqual(fixed);
    expect(await statusOf(mona('POST', `${SITE}/${id}/labels`, { labels: 'gpu' }))).toBe(422);
  });

  it('are in groups', async () => {
    expect(await bodyOf(mona('GET', '/orgs/acme/actions/runner-groups'))).toMatchObject({
      total_count: 2,
      runner_groups: [{ id: 1, name: 'Default' }, { name: 'linux' }],
    });
  });

  it('come just in time: an offline record at once, only the labels that were sent, each name once', async () => {
    const ask = (body: object) => mona('POST', `${SITE}/generate-jitconfig`, body);
    const made = await ask({ name: 'jit-1', runner_group_id: 1, labels: ['beacon'] });
    expect(made.status).toBe(201);
    const { runner, encoded_jit_config } = (await made.json()) as {
      runner: object;
      encoded_jit_config: string;
    };
    expect(runner).toMatchObject({ status: 'offline', ephemeral: true, labels: [{ name: 'beacon' }] });
    const files = JSON.parse(Buffer.from(encoded_jit_config, 'base64').toString()) as object;
    expect(Object.keys(files)).toEqual(['.runner', '.credentials', '.credentials_rsaparams']);
    expect(await statusOf(ask({ name: 'jit-1', runner_group_id: 1, labels: ['beacon'] }))).toBe(409);
    expect(await statusOf(ask({ name: 'jit-2', runner_group_id: 9, labels: ['beacon'] }))).toBe(404);
    expect(await statusOf(ask({ name: 'jit-2', runner_group_id: 1, labels: [] }))).toBe(422);
  });
});

describe('downloads', () => {
  it('name the newest version with the digest of what is there', async () => {
    const rows = (await (await mona('GET', `${SITE}/downloads`)).json()) as {
      architecture: string;
      download_url: string;
      filename: string;
      sha256_checksum: string;
    }[];
    expect(rows.map(({ architecture }) => architecture)).toEqual(['x64', 'arm64', 'arm']);
    const [x64] = rows;
    expect(x64?.filename).toBe('actions-runner-linux-x64-2.336.0.tar.gz');
    expect(x64?.sha256_checksum).toBe(runnerArchive('2.336.0', 'x64').sha256);
    const bytes = Buffer.from(await (await fetch(x64?.download_url ?? '')).arrayBuffer());
    expect(bytes.equals(runnerArchive('2.336.0', 'x64').bytes)).toBe(true);
    const elsewhere = (x64?.download_url ?? '').replaceAll('2.336.0', '1.0.0');
    expect((await fetch(elsewhere)).status).toBe(404);
  });
});

describe('faults', () => {
  it.each([403, 409, 422, 503])('answer %i for as long as they are told to', async (status) => {
    standin.state.fault({
      method: 'POST',
      path: `${SITE}/registration-token`,
      effect: { kind: 'answer', status, body: { message: 'no' } },
      times: 1,
    });
    expect(await statusOf(mona('POST', `${SITE}/registration-token`))).toBe(status);
    expect(await statusOf(mona('POST', `${SITE}/registration-token`))).toBe(201);
  });

  it('make GitHub slow', async () => {
    standin.state.fault({ path: `${SITE}*`, effect: { kind: 'delay', delayMs: 50 }, times: 1 });
    expect(await statusOf(mona('GET', SITE))).toBe(200);
  });

  it('lose the reply of what has taken effect: a second try meets the first', async () => {
    const ask = () =>
      mona('POST', `${SITE}/generate-jitconfig`, { name: 'lost', runner_group_id: 1, labels: ['beacon'] });
    standin.state.fault({
      path: `${SITE}/generate-jitconfig`,
      effect: { kind: 'lost-reply' },
      times: 1,
    });
    await expect(ask()).rejects.toThrow();
    expect(await statusOf(ask())).toBe(409);
    const { id } = standin.state.runners.inScope({ kind: 'repository', id: 5 })[0] ?? { id: 0 };
    standin.state.fault({
      method: 'DELETE',
      path: `${SITE}/${id}`,
      effect: { kind: 'lost-reply' },
      times: 1,
    });
    await expect(mona('DELETE', `${SITE}/${id}`)).rejects.toThrow();
    expect(await statusOf(mona('DELETE', `${SITE}/${id}`))).toBe(404);
  });
});

describe('faults by name', () => {
  it.each(['403', '404', '409', '422', '429', '503'])(
    'answer %s at each place, and nowhere else',
    async (mode) => {
      standin.state.fault(namedFault({ endpoint: 'remove-runner', mode, times: 2 }));
      const { id } = add('one');
      expect(await statusOf(mona('DELETE', `${SITE}/${id}`))).toBe(Number(mode));
      expect(await statusOf(mona('DELETE', `${ACME}/${id}`))).toBe(Number(mode));
      expect(await statusOf(mona('GET', `${SITE}/${id}`))).toBe(200);
      expect(await statusOf(mona('DELETE', `${SITE}/${id}`))).toBe(204);
    },
  );

  it('tell one endpoint from another', async () => {
    standin.state.fault(namedFault({ endpoint: 'show-runner', mode: '503' }));
    expect(await statusOf(mona('GET', `${SITE}/downloads`))).toBe(200);
    expect(await statusOf(mona('GET', SITE))).toBe(200);
    const refused = await mona('GET', `${SITE}/1`);
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '30']);
  });

  it('are not made up', () => {
    for (const given of [
      { endpoint: 'anything', mode: '503' },
      { endpoint: 'downloads', mode: '504' },
    ]) {
      expect(() => namedFault(given)).toThrow(expect.objectContaining({ code: 'configuration' }));
    }
  });
});

describe('its own door', () => {
  const tell = async (action: string, body: object) =>
    (await fetch(`${standin.url}/_standin/${action}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })) as Response;

  it('lists runners with their place and state', async () => {
    const { result } = await bodyOf<{ result: number }>(
      tell('add-runner', { repository: 5, name: 'orphan', labels: ['beacon'] }),
    );
    standin.state.runners.openSession(add('alive'));
    expect(await bodyOf(fetch(`${standin.url}/_standin/runners`))).toMatchObject({
      runners: [
        { scope: 'acme/site', id: result, name: 'orphan', status: 'offline', busy: false },
        {
          scope: 'acme/site',
          name: 'alive',
          status: 'online',
          labels: ['self-hosted', 'Linux', 'X64', 'beacon'],
        },
      ],
      jobs: [],
    });
    expect(await bodyOf(tell('remove-runner', { runner: result }))).toEqual({ ok: true, result: true });
    expect(standin.state.runners.runners.size).toBe(1);
  });

  it('offers other programs: fewer architectures, no digest, a wrong one, a newer version', async () => {
    type Row = { architecture: string; filename: string; sha256_checksum?: string };
    const rows = async () => (await (await mona('GET', `${SITE}/downloads`)).json()) as Row[];
    await tell('set-downloads', { architectures: ['x64', 'arm64'], checksums: 'missing' });
    expect((await rows()).map((row) => [row.architecture, row.sha256_checksum])).toEqual([
      ['x64', undefined],
      ['arm64', undefined],
    ]);
    await tell('set-downloads', { checksums: 'wrong' });
    const [x64] = await rows();
    expect(x64?.sha256_checksum).toMatch(/^[0-9a-f]{64}$/);
    expect(x64?.sha256_checksum).not.toBe(runnerArchive('2.336.0', 'x64').sha256);
    await tell('add-version', { version: '2.337.0' });
    expect((await rows())[0]?.filename).toBe('actions-runner-linux-x64-2.337.0.tar.gz');
    expect(await statusOf(tell('set-downloads', { checksums: 'some' }))).toBe(400);
  });

  it('switches faults on and off, and names what it knows', async () => {
    expect(await bodyOf(fetch(`${standin.url}/_standin`))).toMatchObject({
      actions: expect.arrayContaining(['fault-mode', 'clear-faults']),
      fault_endpoints: expect.arrayContaining(['registration-token']),
      fault_modes: expect.arrayContaining(['slow', 'lost-reply']),
    });
    await tell('fault-mode', { endpoint: 'registration-token', mode: '409' });
    expect(await statusOf(mona('POST', `${ACME}/registration-token`))).toBe(409);
    await tell('clear-faults', {});
    expect(await statusOf(mona('POST', `${ACME}/registration-token`))).toBe(201);
    expect(await statusOf(tell('fault-mode', { endpoint: 'x', mode: '409' }))).toBe(400);
  });

  it('is the same on loopback where it listens on another address, with links to where one asked', async () => {
    const other = await startStandin({ configuration, host: '127.0.0.2' });
    try {
      const { token } = other.state.mintToken({ clientId: 'Iv1', person: 1 });
      for (const url of [other.url, other.loopbackUrl]) {
        const answer = await fetch(`${url}/api/v3/user/installations/9/repositories`, {
          headers: { authorization: `bearer ${token}` },
        });
        expect(answer.status).toBe(404);
        const page = await fetch(`${url}/api/v3/orgs/acme/actions/runner-groups?per_page=1`, {
          headers: { authorization: `bearer ${token}` },
        });
        expect(page.headers.get('link')).toContain(`<${url}/api/v3/orgs/acme/actions/runner-groups?`);
      }
    } finally {
      await other.close();
    }
  });
});
