import { chmodSync, copyFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRecords, migrate, openDatabase, type RecordTables, recordMigrations } from '@beacon/server';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { cluster } from '../../server/test/postgres.ts';
import { checkCa } from '../src/check.ts';
import { copyCa, type MadeCa, makeCheapCa } from './made-ca.ts';

let whole: MadeCa;
let made: MadeCa;
beforeAll(async () => {
  whole = await makeCheapCa();
});
afterAll(() => whole.remove());
beforeEach(() => {
  made = copyCa(whole);
});
afterEach(() => made.remove());

async function defects() {
  return (await checkCa(made.configuration))
    .filter(({ ok }) => !ok)
    .map(({ check, detail }) => ({ check, detail }));
}

async function keepRecords(count: number): Promise<void> {
  const store = openDatabase<RecordTables>({ file: made.at('data/ca.db') });
  await migrate(store, recordMigrations);
  const records = createRecords({ chain: 'ca', now: () => new Date() });
  for (let i = 0; i < count; i += 1)
    await store.transaction().execute((tx) => records.append(tx, { kind: 'test' }));
  await store.destroy();
}

test('finds nothing wrong with what init made, and changes nothing', async () => {
  const results = await checkCa(made.configuration);
  expect(results.map(({ check, ok }) => [check, ok])).toEqual(
    ['configuration', 'keys', 'github', 'services', 'inventory', 'policy', 'store'].map((check) => [
      check,
      true,
    ]),
  );
  await keepRecords(3);
  expect((await checkCa(made.configuration)).at(-1)).toEqual({
    check: 'store',
    ok: true,
    detail: '3 records, the chain holds',
  });
});

const edits: [string, () => void | Promise<void>, string, RegExp][] = [
  [
    'an unknown key',
    () => made.edit('ca.yaml', 'public_url', 'pulbic_url'),
    'configuration',
    /ca\.yaml.*public_url/s,
  ],
  [
    'a key that stands twice',
    () => made.edit('ca.yaml', 'policy: policy', 'policy: policy\npolicy: other'),
    'configuration',
    /ca\.yaml/,
  ],
  [
    'plain http',
    () => made.edit('ca.yaml', 'https://ca.example', 'http://ca.example'),
    'configuration',
    /https/,
  ],
  [
    'a session of 9 hours',
    () => made.edit('ca.yaml', 'max_hours: 8', 'max_hours: 9'),
    'configuration',
    /max_hours/,
  ],
  ['no user CA', () => rmSync(made.at('keys/user_ca')), 'keys', /keys\/user_ca/],
  ['another passphrase', () => writeFileSync(made.at('keys/passphrase'), 'other\n'), 'keys', /passphrase/],
  ['a key that others may read', () => chmodSync(made.at('keys/user_ca'), 0o644), 'keys', /chmod|600/],
  [
    'a passphrase that others may read',
    () => chmodSync(made.at('keys/passphrase'), 0o640),
    'keys',
    /passphrase/,
  ],
  [
    'one key for both',
    () => copyFileSync(made.at('keys/user_ca'), made.at('keys/host_ca')),
    'keys',
    /same key/,
  ],
  ['a short sealing key', () => writeFileSync(made.at('keys/sealing'), 'AAAA\n'), 'keys', /32 bytes/],
  [
    'a public token key',
    () => made.edit('keys/token_signing.jwk', /"d":"[^"]+",?/, ''),
    'keys',
    /private Ed25519/,
  ],
  [
    'an App that is not set',
    () => made.edit('ca.yaml', 'Iv1.made0000000000', 'SET-ME'),
    'github',
    /client_id/,
  ],
  ['no client secret', () => rmSync(made.at('keys/github_client_secret')), 'github', /github_client_secret/],
  [
    'a client secret that others may read',
    () => chmodSync(made.at('keys/github_client_secret'), 0o644),
    'github',
    /github_client_secret/,
  ],
  [
    'a service with a private key',
    () =>
      made.edit(
        'services.yaml',
        'services: {}',
        'services:\n  x:\n    name: x\n    may: []\n    keys: [{ kty: OKP, crv: Ed25519, x: AAAA, d: AAAA, kid: k }]',
      ),
    'services',
    /services\.yaml/,
  ],
  [
    'a service with an unknown right',
    () =>
      made.edit(
        'services.yaml',
        'services: {}',
        `services:\n  x:\n    name: x\n    may: [sudo]\n    keys: [{ kty: OKP, crv: Ed25519, x: ${'A'.repeat(43)}, kid: k }]`,
      ),
    'services',
    /may/,
  ],
  [
    'an inventory with an unknown key',
    () => made.edit('inventory.yaml', 'commands:', 'comands:'),
    'inventory',
    /comands.*commands/s,
  ],
  [
    'a policy that does not parse',
    () => writeFileSync(made.at('policy/policy.cedar'), '@id("x")\npermit (principal,'),
    'policy',
    /policy\.cedar:2/,
  ],
  [
    'a policy about nothing that is there',
    () =>
      writeFileSync(
        made.at('policy/policy.cedar'),
        'permit (principal, action == Action::"nothing", resource);',
      ),
    'policy',
    /nothing/,
  ],
  ['no policy folder', () => rmSync(made.at('policy'), { recursive: true }), 'policy', /folder/],
  [
    'a store that others may read',
    async () => {
      await keepRecords(1);
      chmodSync(made.at('data/ca.db'), 0o644);
    },
    'store',
    /chmod 600/,
  ],
  [
    'a store that is none',
    () => writeFileSync(made.at('data/ca.db'), 'not a store at all'.repeat(99), { mode: 0o600 }),
    'store',
    /store/,
  ],
];

describe('of single defects', () => {
  test.each(edits)('names %s, and no other', async (_what, damage, check, words) => {
    await damage();
    const found = await defects();
    expect(found.map((one) => one.check)).toEqual([check]);
    expect(found[0]?.detail).toMatch(words);
    expect(JSON.stringify(found)).not.toMatch(/made-ca-client-secret-canary/);
  });

  test('L1: names the first record of a store that is not what its hash says', async () => {
    await keepRecords(20);
    const store = openDatabase<RecordTables>({ file: made.at('data/ca.db') });
    await store.updateTable('records').set({ line: '{}' }).where('seq', '=', 7).execute();
    await store.destroy();
    expect(await defects()).toMatchObject([{ check: 'store', detail: expect.stringContaining('record 7:') }]);
  });

  test('a configuration that is not there is the only thing to say', async () => {
    expect(await checkCa(made.at('other.yaml'))).toMatchObject([{ check: 'configuration', ok: false }]);
  });

  test('two defects are both named', async () => {
    made.edit('ca.yaml', 'Iv1.made0000000000', 'SET-ME');
    writeFileSync(made.at('keys/sealing'), 'AAAA\n');
    expect((await defects()).map(({ check }) => check)).toEqual(['keys', 'github']);
  });
});

test('a store in PostgreSQL is looked at by the URL in its file, which no finding repeats', async () => {
  const url = await (await cluster()).createDatabase();
  const file = made.at('keys/postgres_url');
  const storeCheck = async () => (await checkCa(made.configuration)).at(-1);
  made.edit('ca.yaml', 'store: data/ca.db', 'store: { postgres_url_file: keys/postgres_url }');
  expect(await storeCheck()).toMatchObject({ ok: false, detail: expect.stringContaining(file) });
  writeFileSync(file, `${url}\n`, { mode: 0o600 });
  expect(await storeCheck()).toMatchObject({ ok: true, detail: expect.stringMatching(/is empty/) });
  const store = openDatabase<RecordTables>({ url });
  await migrate(store, recordMigrations);
  await store.destroy();
  expect(await storeCheck()).toMatchObject({ ok: true, detail: '0 records, the chain holds' });
  writeFileSync(file, 'postgresql://beacon:hunter2@127.0.0.1:1/ca');
  const unreachable = await storeCheck();
  expect(unreachable).toMatchObject({ ok: false, detail: expect.stringMatching(/cannot be reached/) });
  expect(JSON.stringify(unreachable)).not.toContain('hunter2');
  chmodSync(file, 0o644);
  expect(await storeCheck()).toMatchObject({ ok: false });
});
