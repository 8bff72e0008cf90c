import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Standin, startStandin } from '@beacon/github-standin';
import { createPolicyEngine } from '@beacon/policy';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { checkCa } from '../src/check.ts';
import { readCaConfiguration } from '../src/configuration.ts';
import { type InitReport, type InitRequest, initCa } from '../src/init.ts';
import { readInventory } from '../src/load.ts';
import { ENVIRONMENT, startMain } from './run-main.ts';

let standin: Standin;
let parent: string;
let folder: string;
beforeAll(async () => {
  standin = await startStandin();
  standin.state.addPerson({ id: 583231, login: 'octocat' });
});
afterAll(() => standin.close());
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'beacon-init-'));
  folder = join(parent, 'ca');
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

const request = (change: Partial<InitRequest> = {}): InitRequest => ({
  folder,
  publicUrl: 'https://ca.example.org',
  listenHost: '127.0.0.1',
  listenPort: 8443,
  provider: 'github',
  webUrl: standin.url,
  apiUrl: standin.url,
  clientId: 'Iv1.x',
  ...change,
});

const files = (of: string) =>
  readdirSync(of, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
const contents = (of: string) => files(of).map((file) => [file, readFileSync(file, 'utf8')]);
const modeOf = (file: string) => statSync(file).mode & 0o777;

describe('init', () => {
  let made: string;
  let report: InitReport;
  beforeAll(async () => {
    const own = mkdtempSync(join(tmpdir(), 'beacon-init-'));
    made = join(own, 'ca');
    report = await initCa(request({ folder: made }));
    expect(readdirSync(own)).toEqual(['ca']);
  });
  afterAll(() => rmSync(join(made, '..'), { recursive: true }));

  test('makes the whole folder: secrets readable by their owner alone, public halves beside them', async () => {
    expect(report.files).toEqual([
      'ca.yaml',
      'inventory.yaml',
      ...[
        'host_ca',
        'host_ca.pub',
        'passphrase',
        'sealing',
        'token_signing.jwk',
        'trust_status',
        'trust_status.pub',
        'user_ca',
        'user_ca.pub',
      ].map((name) => `keys/${name}`),
      'policy/policy.cedar',
      'services.yaml',
    ]);
    expect(modeOf(made)).toBe(0o700);
    for (const name of ['keys', 'data', 'policy']) expect(modeOf(join(made, name))).toBe(0o700);
    for (const name of ['host_ca', 'user_ca', 'passphrase', 'sealing', 'token_signing.jwk'])
      expect(modeOf(join(made, 'keys', name))).toBe(0o600);
  });

  test('makes two different keys that OpenSSH opens with the passphrase, and without it does not', async () => {
    const passphrase = readFileSync(join(made, 'keys/passphrase'), 'utf8').trim();
    expect(Buffer.from(passphrase, 'base64url')).toHaveLength(32);
    for (const [name, fingerprint] of [
      ['user_ca', report.user_ca],
      ['host_ca', report.host_ca],
    ] as const) {
      const file = join(made, 'keys', name);
      const shown = execFileSync('ssh-keygen', ['-y', '-P', passphrase, '-f', file]).toString();
      expect(shown.split(' ').slice(0, 2)).toEqual(
        readFileSync(`${file}.pub`, 'utf8').split(' ').slice(0, 2),
      );
      expect(execFileSync('ssh-keygen', ['-l', '-f', `${file}.pub`]).toString()).toContain(fingerprint);
      expect(spawnSync('ssh-keygen', ['-y', '-P', '', '-f', file]).status).not.toBe(0);
      expect(readFileSync(file, 'latin1')).toMatch(/^-----BEGIN OPENSSH PRIVATE KEY-----/);
    }
    expect(report.user_ca).not.toBe(report.host_ca);
  });

  test('prints no secret in its report', async () => {
    const text = JSON.stringify(report);
    for (const name of ['passphrase', 'sealing'])
      expect(text).not.toContain(readFileSync(join(made, 'keys', name), 'utf8').trim());
    expect(text).not.toContain(JSON.parse(readFileSync(join(made, 'keys/token_signing.jwk'), 'utf8')).d);
  });

  test('leaves a configuration that check finds whole, but for the App’s secret', async () => {
    const defects = (await checkCa(join(made, 'ca.yaml'))).filter(({ ok }) => !ok);
    expect(defects.map(({ check }) => check)).toEqual(['github']);
    writeFileSync(join(made, 'keys/github_client_secret'), 'x\n', { mode: 0o600 });
    expect((await checkCa(join(made, 'ca.yaml'))).every(({ ok }) => ok)).toBe(true);
    expect(readCaConfiguration(join(made, 'ca.yaml')).github.client_id).toBe('Iv1.x');
  });

  test('tells the fields of the GitHub App and the next commands to type', async () => {
    expect(report.github_app).toMatchObject({
      'Callback URL': 'https://ca.example.org/sign-in/github/callback',
    });
    expect(report.next.at(-1)).toBe(`beacon ca serve --config ${join(made, 'ca.yaml')}`);
    expect(report.administrator).toBeNull();
  });

  test('the policy permits nobody until somebody is named, and its examples are policies when uncommented', async () => {
    const inventory = readInventory(join(made, 'inventory.yaml'));
    const text = readFileSync(join(made, 'policy/policy.cedar'), 'utf8');
    const engineOf = (policy: string) =>
      createPolicyEngine({ files: [{ name: 'p.cedar', text: policy }], inventory, provider: 'github' });
    expect(engineOf(text).policies).toEqual([]);
    const uncommented = text.replace(/^\/\/ (?=@|permit|\)| {2})/gm, '');
    expect(engineOf(uncommented).policies).toEqual(['administrators', 'web-team-logs-in']);
  });
});

describe('--systemd', () => {
  test('lays the folder out for the unit: its account reads all but the keys and writes nothing', async () => {
    const before = process.umask(0o077);
    const report = await initCa(request({ systemd: true })).finally(() => process.umask(before));
    for (const name of ['.', 'policy']) expect(modeOf(join(folder, name))).toBe(0o755);
    for (const name of ['ca.yaml', 'services.yaml', 'inventory.yaml', 'policy/policy.cedar'])
      expect(modeOf(join(folder, name))).toBe(0o644);
    expect(modeOf(join(folder, 'keys'))).toBe(0o700);
    expect(existsSync(join(folder, 'data'))).toBe(false);
    expect(readCaConfiguration(join(folder, 'ca.yaml'))).toMatchObject({
      store: '/var/lib/beacon-ca/ca.db',
      keys: { user_ca: { passphrase_file: '$CREDENTIALS_DIRECTORY/passphrase' } },
      github: { client_secret_file: '$CREDENTIALS_DIRECTORY/github_client_secret' },
    });
    expect(report.next.at(-1)).toBe('systemctl enable --now beacon-ca');
  });

  test('names exactly the credentials that the unit loads, each from the file of that name', async () => {
    await initCa(request({ systemd: true }));
    const named = [
      ...readFileSync(join(folder, 'ca.yaml'), 'utf8').matchAll(/: \$CREDENTIALS_DIRECTORY\/(\S+?)[, \n]/g),
    ];
    const unit = readFileSync(join(import.meta.dirname, '../../../infra/systemd/beacon-ca.service'), 'utf8');
    const loaded = [...unit.matchAll(/^LoadCredential=(\S+):\/etc\/beacon-ca\/keys\/(\S+)$/gm)];
    expect(loaded.map(([, name]) => name)).toEqual(loaded.map(([, , file]) => file));
    expect(new Set(named.map(([, name]) => name))).toEqual(new Set(loaded.map(([, name]) => name)));
  });
});

describe('--admin', () => {
  test('looks the login up once, and names the person by number', async () => {
    const report = await initCa(request({ administratorLogin: 'octocat' }));
    expect(report.administrator).toBe('github:583231');
    expect(standin.state.requests.filter((line) => line.endsWith('/users/octocat'))).toHaveLength(1);
    const text = readFileSync(join(folder, 'policy/policy.cedar'), 'utf8');
    expect(text).toContain('principal == Person::"github:583231"');
    expect(text.replace(/\/\/.*$/gm, '')).not.toContain('octocat');
  });

  test('with another provider’s word, the person carries it', async () => {
    expect((await initCa(request({ administratorLogin: 'octocat', provider: 'ghe' }))).administrator).toBe(
      'ghe:583231',
    );
  });

  test.each(['nobody-of-this-name', '../users/octocat', 'a b', ''])(
    'makes nothing when %j is no person there',
    async (login) => {
      await expect(initCa(request({ administratorLogin: login }))).rejects.toThrow();
      expect(readdirSync(parent)).toEqual([]);
    },
  );

  test('makes nothing when GitHub gives no answer', async () => {
    standin.state.fault({ path: '*', effect: { kind: 'reset' } });
    await expect(initCa(request({ administratorLogin: 'octocat' }))).rejects.toThrow();
    standin.state.clearFaults();
    expect(readdirSync(parent)).toEqual([]);
  });
});

describe('what init never does', () => {
  test('overwrite: a second init is refused and changes no byte', async () => {
    await initCa(request());
    const before = contents(folder);
    await expect(initCa(request())).rejects.toMatchObject({ code: 'init-refused' });
    expect(contents(folder)).toEqual(before);
    expect(readdirSync(parent)).toEqual(['ca']);
  });

  test('leave the keys of a killed init unnamed: the next one is refused until its draft is gone', async () => {
    const main = join(import.meta.dirname, 'serving-process.ts');
    const argv = ['--conditions=@beacon/source', '--no-warnings', main, 'ca', 'init', '--dir', folder];
    const isDrafted = () => readdirSync(parent).some((name) => name.startsWith('ca.new-'));
    // One that was done before it was met in the midst of it is no draft: then again.
    while (!isDrafted()) {
      rmSync(folder, { recursive: true, force: true });
      const child = spawn(process.execPath, [...argv, '--public-url', 'https://ca.example'], {
        stdio: 'ignore',
        env: ENVIRONMENT,
      });
      const ended = once(child, 'exit');
      while (child.exitCode === null && !isDrafted()) await sleep(1);
      child.kill('SIGKILL');
      await ended;
    }
    const [draft = ''] = readdirSync(parent);
    expect(draft).toMatch(/^ca\.new-/);
    expect(statSync(join(parent, draft)).mode & 0o777).toBe(0o700);
    await expect(initCa(request())).rejects.toMatchObject({
      code: 'init-refused',
      message: expect.stringContaining(`rm -r ${join(parent, draft)}`),
    });
    rmSync(join(parent, draft), { recursive: true });
    await initCa(request());
    expect(readdirSync(parent)).toEqual(['ca']);
  });

  test('overwrite: a folder with anything in it is refused, an empty one is taken', async () => {
    mkdirSync(folder);
    writeFileSync(join(folder, '.hidden'), 'x');
    await expect(initCa(request())).rejects.toMatchObject({ code: 'init-refused' });
    rmSync(join(folder, '.hidden'));
    chmodSync(folder, 0o755);
    await initCa(request());
    expect(modeOf(folder)).toBe(0o700);
  });

  test.each<[string, Partial<InitRequest>]>([
    ['a public URL without a scheme', { publicUrl: 'ca.example.org' }],
    ['a public URL with a path’s slash', { publicUrl: 'https://ca.example.org/' }],
    ['plain http beyond loopback', { publicUrl: 'http://ca.example.org' }],
    ['a line of its own in the public URL', { publicUrl: 'https://ca.example.org\nstore: /etc/passwd' }],
    ['a comment in the client id', { clientId: '# nothing' }],
    ['a provider in capitals', { provider: 'GitHub' }],
    ['port 70000', { listenPort: 70_000 }],
  ])('keep what no start would read: %s', async (_what, change) => {
    await expect(initCa(request(change))).rejects.toThrow();
    expect(readdirSync(parent)).toEqual([]);
  });

  test('leave a half folder when it is killed: there is none, or the whole', async () => {
    const argv = (own: string) => ['ca', 'init', '--dir', own, '--public-url', 'https://ca.example.org'];
    await Promise.all(
      [400, 800].map(async (ms) => {
        const own = join(parent, `ca-${ms}`);
        const { child, ended } = startMain(argv(own));
        const timer = setTimeout(() => child.kill('SIGKILL'), ms);
        await ended;
        clearTimeout(timer);
        if (existsSync(own)) expect(files(own)).toHaveLength(11);
        expect(
          readdirSync(parent).filter((name) => name.startsWith(`ca-${ms}`) && name !== `ca-${ms}`).length,
        ).toBeLessThan(2);
      }),
    );
  });
});
