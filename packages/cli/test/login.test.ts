import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type Knobs, type SmallCa, startSmallCa } from '../../client/test/small-ca.ts';
import { createHome, type Home } from './command.ts';

const mode = (file: string) => (statSync(file).mode & 0o777).toString(8);

describe('the session on this machine', () => {
  let ca: SmallCa;
  let home: Home;
  let usual: Knobs;

  beforeAll(async () => {
    ca = await startSmallCa();
    usual = { ...ca.knobs };
  });
  beforeEach(() => {
    Object.assign(ca.knobs, usual);
    home = createHome();
  });
  afterEach(() => home.remove());
  afterAll(() => ca.close());

  const login = async () => expect((await home.run(['login', ca.url])).status).toBe(0);

  it('shows page and code on stderr, and who one is on stdout', async () => {
    const result = await home.run(['login', `${ca.url}/`]);
    expect(result.status).toBe(0);
    expect(result.stderr).toContain(`${ca.url}/device`);
    expect(result.stderr).toContain('ABCD-EFGH');
    expect(result.stdout).toMatch(new RegExp(`^octocat \\(github:583231\\) at ${ca.url} until \\d{4}-`));
    expect(result.stderr).toContain('does not know whether you belong to acme');
    expect(readFileSync(home.configuration, 'utf8')).toContain(`ca: ${ca.url}\n`);
  });

  it('I11: keeps the session at 0600 in a directory of 0700, with nothing beside it', async () => {
    await login();
    expect([mode(home.session), mode(home.state)]).toEqual(['600', '700']);
    expect(readdirSync(home.state)).toEqual(['session.json']);
  });

  it('logs in again at the remembered CA, and ends the session before it', async () => {
    await login();
    const before = readFileSync(home.session, 'utf8');
    const asked = ca.requests.length;
    expect((await home.run(['login'])).status).toBe(0);
    expect(readFileSync(home.session, 'utf8')).not.toBe(before);
    expect(ca.requests.slice(asked).some((request) => request.startsWith('DELETE /v1/sessions/'))).toBe(true);
  });

  it('I11: refuses a session or a directory with looser modes, and one behind a link', async () => {
    await login();
    for (const loose of ['604', '640', '660']) {
      chmodSync(home.session, Number.parseInt(loose, 8));
      const result = await home.run(['whoami']);
      expect(result).toMatchObject({ status: 64, stdout: '' });
      expect(result.stderr).toContain(`has mode ${loose}`);
    }
    chmodSync(home.session, 0o600);
    const elsewhere = join(home.directory, 'elsewhere.json');
    renameSync(home.session, elsewhere);
    symlinkSync(elsewhere, home.session);
    expect(await home.run(['whoami'])).toMatchObject({
      status: 64,
      stderr: expect.stringContaining('symbolic link'),
    });
    chmodSync(home.state, 0o755);
    expect(await home.run(['login', ca.url])).toMatchObject({
      status: 64,
      stderr: expect.stringContaining('has mode 755'),
    });
  });

  it.each([['{'], ['{}'], ['{"v":2}'], ['[]'], ['{"v":1,"v":1}'], ['']])(
    'refuses the damaged session %p',
    async (text) => {
      mkdirSync(home.state, { recursive: true, mode: 0o700 });
      writeFileSync(home.session, text, { mode: 0o600 });
      const result = await home.run(['whoami']);
      expect(result).toMatchObject({ status: 77, stdout: '' });
      expect(result.stderr).toContain('beacon login');
    },
  );

  it('renews an expired token once for eight commands at the same time', async () => {
    ca.knobs.accessTokenSeconds = 1;
    await login();
    ca.knobs.accessTokenSeconds = 600;
    ca.refreshes.count = 0;
    const results = await Promise.all(Array.from({ length: 8 }, () => home.run(['whoami', '--json'])));
    expect(results.map(({ status }) => status)).toEqual(Array(8).fill(0));
    expect(ca.refreshes).toEqual({ count: 1, reused: 0 });
    expect(readdirSync(home.state)).toEqual(['session.json']);
  });

  it('takes over the lock of a process that died', async () => {
    ca.knobs.accessTokenSeconds = 1;
    await login();
    writeFileSync(join(home.state, 'session.lock'), '4194304 0123456789abcdef\n');
    expect((await home.run(['whoami'])).status).toBe(0);
  });

  it('says who one is, as a promise for programs', async () => {
    await login();
    const { stdout, status } = await home.run(['whoami', '--json']);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      person: 'github:583231',
      name: 'octocat',
      ca: ca.url,
      session: expect.stringMatching(/^[0-9a-z]{26}$/),
      service: 'beacon-cli',
      started_at: expect.stringMatching(/Z$/),
      ends_at: expect.stringMatching(/Z$/),
      memberships: {
        read_at: expect.stringMatching(/Z$/),
        organizations: ['1'],
        teams: ['2'],
        unknown: [{ id: '7', name: 'acme', why: 'single sign-on' }],
      },
    });
  });

  it('says that the session has ended, and how to begin one', async () => {
    await login();
    ca.endSessions();
    expect(await home.run(['whoami'])).toEqual({
      status: 77,
      stdout: '',
      stderr: 'beacon: your session has ended: log in again\nLog in with: beacon login\n',
    });
  });

  it('logs out here and at the CA, and says so when it had ended already', async () => {
    await login();
    expect(await home.run(['logout'])).toMatchObject({
      status: 0,
      stdout: 'logged out octocat (github:583231)\n',
    });
    expect(readdirSync(home.state)).toEqual([]);
    expect(await home.run(['logout'])).toMatchObject({ status: 0, stderr: 'You were not logged in.\n' });
    expect((await home.run(['whoami'])).status).toBe(77);
    await login();
    ca.endSessions();
    expect(await home.run(['logout', '--json'])).toMatchObject({ status: 0, stdout: '{"ended":null}\n' });
    expect(readdirSync(home.state)).toEqual([]);
  });

  it('forgets the login even when the CA cannot be told, and says so', async () => {
    await login();
    ca.knobs.intercept = (_request, response) => {
      response.writeHead(503).end();
      return true;
    };
    const result = await home.run(['logout']);
    expect(result).toMatchObject({ status: 69, stderr: expect.stringContaining('forgotten here') });
    expect(readdirSync(home.state)).toEqual([]);
  });

  it.each([
    ['access_denied', 77],
    ['expired_token', 77],
    ['server_error', 69],
    ['invalid_request', 64],
  ])('ends with a status of its own for %s, and keeps nothing', async (refusal, status) => {
    ca.knobs.pollRefusal = refusal;
    expect(await home.run(['login', ca.url])).toMatchObject({ status, stdout: '' });
    expect(() => statSync(home.session)).toThrow();
  });

  it.each([
    ['http://ca.example', 64, 'not encrypted'],
    ['ca.example', 64, 'no address'],
    ['https://[', 64, 'no address'],
  ])('refuses the address %s', async (url, status, said) => {
    expect(await home.run(['login', url])).toMatchObject({ status, stderr: expect.stringContaining(said) });
  });

  it('asks for an address when none is remembered', async () => {
    expect(await home.run(['login'])).toMatchObject({
      status: 64,
      stderr: expect.stringContaining('which CA?'),
    });
  });

  it.each([
    ['# mine\ncaa: https://ca.example\n', ':2: the key "caa" is unknown (did you mean "ca"?)'],
    ['ca: [a]\n', ':1: ca is the address'],
    ['ca: a\nca: b\n', ':2: '],
    ['- a\n', ':1: '],
    ['ca: "\n', ':'],
  ])('refuses the configuration %p with its line', async (text, said) => {
    mkdirSync(dirname(home.configuration), { recursive: true });
    writeFileSync(home.configuration, text);
    const result = await home.run(['login']);
    expect(result.status).toBe(64);
    expect(result.stderr).toContain(`${home.configuration}${said}`);
  });

  it('keeps comments when it remembers another CA', async () => {
    mkdirSync(dirname(home.configuration), { recursive: true });
    writeFileSync(home.configuration, '# mine\nca: https://old.example # was\n');
    await login();
    expect(readFileSync(home.configuration, 'utf8')).toMatch(/^# mine\nca: http:\/\/127/);
  });

  it('finds its places by the XDG variables, but for relative ones', async () => {
    const state = join(home.directory, 'my state');
    const config = join(home.directory, 'my config');
    const environment = { XDG_STATE_HOME: state, XDG_CONFIG_HOME: config };
    expect((await home.run(['login', ca.url], { environment })).status).toBe(0);
    expect(mode(join(state, 'beacon', 'session.json'))).toBe('600');
    expect(statSync(join(config, 'beacon', 'config.yaml')).isFile()).toBe(true);
    expect((await home.run(['whoami'], { environment: { XDG_STATE_HOME: 'my state' } })).status).toBe(77);
  });

  it('I12: prints nothing that a server said with control characters in it', async () => {
    await login();
    const evil = '\u001b]0;owned\u0007\u001b[2J\r\n\u202egnp.exe\u009b1m';
    ca.knobs.tamper = (path, body) =>
      path === '/v1/sessions/current'
        ? { ...body, session: { ...(body['session'] as object), name: evil }, memberships: memberships(evil) }
        : body;
    for (const args of [['whoami'], ['whoami', '--json']]) {
      const { stdout, stderr } = await home.run(args);
      expect(stdout.length).toBeGreaterThan(0);
      expect(`${stdout}${stderr}`.replaceAll('\n', '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
    }
    ca.knobs.intercept = (_request, response) => {
      response.writeHead(403, { 'content-type': 'application/problem+json' });
      const problem = {
        type: 'urn:beacon:problem:denied',
        title: 'x',
        status: 403,
        code: evil,
        detail: evil,
        id: evil,
      };
      response.end(JSON.stringify(problem));
      return true;
    };
    const { status, stderr } = await home.run(['whoami']);
    expect(status).toBe(77);
    expect(stderr.replaceAll('\n', '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
  });

  it('stops cleanly on Ctrl-C while it waits', async () => {
    ca.knobs.intervalSeconds = 30;
    const asked = ca.requests.length;
    const running = home.start(['login', ca.url]);
    const begun = () => ca.requests.slice(asked).includes('POST /oauth/device');
    for (let turn = 0; turn < 2_000 && !begun(); turn++) await pause(25);
    await pause(300);
    running.kill('SIGINT');
    const result = await running.result;
    expect(result).toMatchObject({ status: 69, stdout: '' });
    expect(result.stderr).toContain('the login was stopped');
  });
});

function memberships(name: string): object {
  return {
    read_at: '2026-11-22T10:00:00.000Z',
    organizations: [],
    teams: [],
    unknown: [{ id: '7', name, why: name }],
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
