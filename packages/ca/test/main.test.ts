import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRecords, migrate, openDatabase, type RecordTables, recordMigrations } from '@beacon/server';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { main } from '../src/main.ts';
import { copyCa, type MadeCa, makeCheapCa } from './made-ca.ts';
import { runMain } from './run-main.ts';
import { policyText } from './small-ca.ts';

let made: MadeCa;
let folder: string;
beforeAll(async () => {
  made = await makeCheapCa();
});
afterAll(() => made.remove());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'beacon-main-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs `main` in this process and answers what it printed on standard output. */
async function run(
  ...argv: string[]
): Promise<{ status: number; stdout: string; json: () => Record<string, never> }> {
  const parts: string[] = [];
  const write = process.stdout.write.bind(process.stdout);
  process.stdout.write = (text: string | Uint8Array) => {
    parts.push(String(text));
    return true;
  };
  try {
    const status = await main(argv);
    const stdout = parts.join('');
    return { status, stdout, json: () => JSON.parse(stdout) as Record<string, never> };
  } finally {
    process.stdout.write = write;
  }
}

describe('as a process', () => {
  test('T7: token-key makes a key, and shows of one the public half alone', async () => {
    const file = join(folder, 'next.jwk');
    const fresh = (await run('ca', 'token-key', file, '--new')).json();
    expect(fresh).toEqual((await run('ca', 'token-key', file)).json());
    expect(Object.keys(fresh).sort()).toEqual(['crv', 'kid', 'kty', 'x']);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ ...fresh, d: expect.any(String) });
    await expect(main(['ca', 'token-key', file, '--new'])).rejects.toMatchObject({ code: 'keys' });
    await expect(main(['ca', 'token-key'])).rejects.toMatchObject({ code: 'request-malformed' });
  });

  test('init, check, service key and policy check work one after the other on what was made', async () => {
    const dir = join(folder, 'ca');
    const init = await runMain([
      'ca',
      'init',
      '--dir',
      dir,
      '--public-url',
      'https://ca.example.org',
      '--json',
    ]);
    expect([init.status, init.stderr]).toEqual([0, '']);
    const report = JSON.parse(init.stdout) as { folder: string; files: string[]; next: string[] };
    expect(report.folder).toBe(dir);
    for (const file of report.files) expect(existsSync(join(dir, file))).toBe(true);
    const check = await runMain(['ca', 'check', '--config', join(dir, 'ca.yaml')]);
    expect(check.status).toBe(1);
    expect(check.stdout).toMatch(/^DEFECT\s+github: .*client_id/m);
    expect(check.stdout.match(/DEFECT/g)).toHaveLength(1);
    const again = await runMain(['ca', 'init', '--dir', dir, '--public-url', 'https://ca.example.org']);
    expect([again.status, again.stdout]).toEqual([99, '']);
    expect(again.stderr).toContain('CaError init-refused:');
    const slip = await runMain(['ca', 'check', '--confg', 'x']);
    expect([slip.status, slip.stderr]).toEqual([
      99,
      expect.stringMatching(/^CaError request-malformed: .*confg/),
    ]);
  });
});

describe('ca check', () => {
  test('answers 0 when all is well, in words and in JSON', async () => {
    expect((await run('ca', 'check', '--config', made.configuration)).status).toBe(0);
    const { status, json } = await run('ca', 'check', '--config', made.configuration, '--json');
    expect([status, json()]).toMatchObject([0, { ok: true }]);
  });
});

describe('ca ready', () => {
  test('reads no secret, and says that the CA of this configuration is not ready', async () => {
    const copied = copyCa(made);
    copied.edit('ca.yaml', 'keys/sealing', '$CREDENTIALS_DIRECTORY/sealing');
    copied.edit('ca.yaml', /port: \d+/, 'port: 1');
    await expect(main(['ca', 'ready', '--config', copied.configuration])).rejects.toMatchObject({
      name: 'CaError',
      code: 'not-ready',
      kind: 'unavailable',
      message: expect.stringContaining(`the CA of ${copied.configuration} is not ready: `),
    });
    copied.remove();
  });
});

describe('ca service', () => {
  test('key makes a pair whose entry can be pasted, and overwrites nothing', async () => {
    const out = join(folder, 'portal.jwk');
    const { json } = await run('ca', 'service', 'key', 'portal', '--out', out, '--json');
    const { entry } = json() as unknown as { entry: string };
    expect(statSync(out).mode & 0o777).toBe(0o600);
    const key = JSON.parse(readFileSync(out, 'utf8')) as { d: string; x: string };
    expect(entry).not.toContain(key.d);
    expect(entry).toContain(key.x);
    const services = join(folder, 'services.yaml');
    writeFileSync(services, `version: 1\nservices:\n${entry}`);
    const listed = await run('ca', 'service', 'list', '--services', services, '--json');
    expect(listed.json()).toMatchObject({ services: [{ id: 'portal', may: [], keys: [{ x: key.x }] }] });
    expect((await run('ca', 'service', 'check', '--services', services)).stdout).toContain('portal');
    writeFileSync(
      services,
      `version: 1\nservices:\n${entry.replace('name: portal', 'name: "p\\e[2K\\u202e"')}`,
    );
    expect((await run('ca', 'service', 'list', '--services', services)).stdout).toContain(
      '\tp\\u001b[2K\\u202e\t',
    );
    await expect(run('ca', 'service', 'key', 'portal', '--out', out)).rejects.toMatchObject({
      code: 'services',
    });
    expect(JSON.parse(readFileSync(out, 'utf8'))).toEqual(key);
  });

  test.each(['Portal', 'a b', '../x', '', 'x'.repeat(70)])('key refuses the id %j', async (id) => {
    await expect(run('ca', 'service', 'key', id, '--out', join(folder, 'x.jwk'))).rejects.toThrow();
    expect(existsSync(join(folder, 'x.jwk'))).toBe(false);
  });

  test('check names the place of what is wrong', async () => {
    const services = join(folder, 'services.yaml');
    writeFileSync(services, 'version: 1\nservices:\n  portal: { nme: x }\n');
    await expect(run('ca', 'service', 'check', '--services', services)).rejects.toMatchObject({
      name: 'CaError',
      message: expect.stringMatching(/services\.yaml:3[\s\S]*nme/),
    });
  });
});

const inventoryText = `version: 1
commands:
  runner.install:
    undo: runner.remove
    params: { name: { pattern: "[a-z0-9]+" }, version: { pattern: "[0-9.]+" } }
  runner.configure:
    undo: runner.remove
    params: { name: { pattern: "[a-z0-9]+" }, scope: { pattern: ".+" }, token: { pattern: ".+", secret: true } }
  runner.remove: { params: { name: { pattern: "[a-z0-9]+" } } }
  disk.wipe: {}
hosts:
  web-01: { logins: [deploy], pools: [web] }
  db-01: { logins: [root], pools: [db] }
`;

describe('policy', () => {
  const policy = () => ['--policy', join(folder, 'policy'), '--inventory', join(folder, 'inventory.yaml')];
  beforeEach(() => {
    cpSync(made.at('policy'), join(folder, 'policy'), { recursive: true });
    writeFileSync(join(folder, 'policy/policy.cedar'), policyText);
    writeFileSync(join(folder, 'inventory.yaml'), inventoryText);
  });

  test('check says how many there are and which version, or where the first fault is', async () => {
    const { status, stdout } = await run('policy', 'check', ...policy());
    expect([status, stdout]).toEqual([
      0,
      expect.stringMatching(/^ok: 5 policies in 1 files, version [0-9a-f]{64}\n$/),
    ]);
    expect((await run('policy', 'check', ...policy(), '--json')).json()).toMatchObject({
      ok: true,
      teams: ['github:7001', 'github:7101'],
    });
    writeFileSync(
      join(folder, 'policy/b.cedar'),
      '\n\npermit (principal, action == Action::"ss", resource);',
    );
    await expect(run('policy', 'check', ...policy())).rejects.toMatchObject({
      code: 'policy',
      message: expect.stringMatching(/b\.cedar:3.*ssh/s),
    });
  });

  const cases = (expect: string) => `version: 1
cases:
  - name: the team logs in
    person: { id: "github:102", teams: ["github:7001"] }
    host: web-01
    ssh: true
    lifetime: 15m
    expect: ${expect}
  - name: nobody else does
    person: { id: "github:103" }
    host: web-01
    ssh: true
    expect: deny
`;

  test('test runs cases: 0 when they hold, 1 and the difference when one does not', async () => {
    const file = join(folder, 'cases.yaml');
    writeFileSync(file, cases('allow'));
    const good = await run('policy', 'test', file, ...policy());
    expect([good.status, good.stdout]).toEqual([0, expect.stringContaining('2 passed, 0 failed')]);
    writeFileSync(file, cases('deny'));
    const bad = await run('policy', 'test', file, ...policy(), '--json');
    expect([bad.status, bad.json()]).toMatchObject([
      1,
      { ok: false, cases: [{ name: 'the team logs in', ok: false }, { ok: true }] },
    ]);
    expect((await run('policy', 'test', file, ...policy())).stdout).toMatch(/FAILED the team logs in/);
    writeFileSync(file, cases('alow'));
    await expect(run('policy', 'test', file, ...policy())).rejects.toMatchObject({
      message: expect.stringContaining('cases.yaml'),
    });
  });
});

describe('records verify', () => {
  const receipts: { seq: number; hash: string }[] = [];
  const file = () => join(folder, 'ca.db');
  beforeEach(async () => {
    receipts.length = 0;
    const store = openDatabase<RecordTables>({ file: file() });
    await migrate(store, recordMigrations);
    const records = createRecords({ chain: 'ca', now: () => new Date() });
    for (let i = 0; i < 12; i += 1)
      receipts.push(
        await store.transaction().execute((tx) => records.append(tx, { kind: 'test', facts: { i } })),
      );
    await store.destroy();
  });
  const tamper = async (
    change: (store: ReturnType<typeof openDatabase<RecordTables>>) => Promise<unknown>,
  ) => {
    const store = openDatabase<RecordTables>({ file: file() });
    await change(store);
    await store.destroy();
  };
  const anchor = (index: number) => `${receipts[index]?.seq}:${receipts[index]?.hash}`;

  test('answers 0 and the head of a chain that holds, with its anchors', async () => {
    const { status, stdout } = await run(
      'records',
      'verify',
      '--store',
      file(),
      '--anchor',
      anchor(4),
      '--anchor',
      anchor(11),
    );
    expect([status, stdout]).toEqual([0, `ok: 12 records, head ${receipts[11]?.hash}\n`]);
    expect((await run('records', 'verify', '--store', file(), '--json')).json()).toMatchObject({
      ok: true,
      count: 12,
    });
  });

  test.each<[string, number, (store: ReturnType<typeof openDatabase<RecordTables>>) => Promise<unknown>]>([
    [
      'an edited line',
      5,
      (store) => store.updateTable('records').set({ line: '{"v":1}' }).where('seq', '=', 5).execute(),
    ],
    [
      'a flipped column',
      3,
      (store) => store.updateTable('records').set({ kind: 'other' }).where('seq', '=', 3).execute(),
    ],
    ['a record taken out', 7, (store) => store.deleteFrom('records').where('seq', '=', 7).execute()],
    ['the first taken out', 1, (store) => store.deleteFrom('records').where('seq', '=', 1).execute()],
  ])('L1: names the first bad record after %s, with status 1', async (_what, bad, change) => {
    await tamper(change);
    const { status, stdout } = await run('records', 'verify', '--store', file());
    expect([status, stdout]).toEqual([1, expect.stringMatching(new RegExp(`^BAD: record ${bad}: `))]);
    expect((await run('records', 'verify', '--store', file(), '--json')).json()).toMatchObject({
      ok: false,
      firstBad: bad,
    });
  });

  test('L3: a tail that was cut is seen with an anchor alone', async () => {
    await tamper((store) => store.deleteFrom('records').where('seq', '>', 9).execute());
    expect((await run('records', 'verify', '--store', file())).status).toBe(0);
    const { status, stdout } = await run('records', 'verify', '--store', file(), '--anchor', anchor(11));
    expect([status, stdout]).toEqual([1, expect.stringContaining('BAD: record 10:')]);
  });

  test('L2: a chain written anew is seen with an anchor', async () => {
    const before = anchor(6);
    rmSync(file());
    const store = openDatabase<RecordTables>({ file: file() });
    await migrate(store, recordMigrations);
    const records = createRecords({ chain: 'ca', now: () => new Date() });
    for (let i = 0; i < 12; i += 1)
      await store.transaction().execute((tx) => records.append(tx, { kind: 'new' }));
    await store.destroy();
    expect((await run('records', 'verify', '--store', file())).status).toBe(0);
    expect((await run('records', 'verify', '--store', file(), '--anchor', before)).status).toBe(1);
  });

  test.each(['x', '1', '1:abc', `0x1:${'a'.repeat(64)}`, `1:${'A'.repeat(64)}`])(
    'refuses the anchor %s',
    async (text) => {
      await expect(run('records', 'verify', '--store', file(), '--anchor', text)).rejects.toMatchObject({
        kind: 'invalid',
      });
    },
  );

  test('a store that is not there is refused and not made', async () => {
    await expect(run('records', 'verify', '--store', join(folder, 'none.db'))).rejects.toThrow();
    expect(existsSync(join(folder, 'none.db'))).toBe(false);
  });
});

describe('what main does not know', () => {
  test.each([
    ['ca', 'init'],
    ['records', 'verify'],
    ['policy', 'test'],
    ['ca', 'service', 'key'],
  ])('is an error of kind invalid that shows the usage: %s %s %s', async (...argv) => {
    const words = argv.filter((word): word is string => word !== undefined);
    await expect(run(...words)).rejects.toMatchObject({
      name: 'CaError',
      kind: 'invalid',
      message: expect.stringContaining('Usage:'),
    });
  });

  test('help shows every setting with its default', async () => {
    const { status, stdout } = await run('ca', 'serve', '--help');
    expect(status).toBe(0);
    for (const words of [
      'public_url: ',
      'session.max_hours: ',
      'default 8',
      'trusted_proxies',
      'github.client_secret_file',
    ])
      expect(stdout).toContain(words);
  });
});
