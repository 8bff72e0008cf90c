import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createLog } from '@beacon/server';
import { fingerprint } from '@beacon/ssh/public-key';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createCa } from '../src/create-ca.ts';
import { loadCa, readInventory, readPolicies } from '../src/load.ts';
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

const log = createLog({ name: 'ca', level: 'silent' });
const policies = () => readPolicies(made.at('policy'));

describe('limits', () => {
  test('are those of the configuration, each with a default of its own', async () => {
    expect((await loadCa(made.configuration, log)).options.limits).toEqual({
      perAddress: { requests: 600, perSeconds: 60 },
      perService: { requests: 6_000, perSeconds: 60 },
      perPerson: { requests: 1_200, perSeconds: 60 },
    });
    made.edit(
      'ca.yaml',
      'store: data/ca.db',
      'store: data/ca.db\nlimits: { per_person: { requests: 5 }, per_service: { requests: 7 }, connections: 32 }',
    );
    const { options, configuration } = await loadCa(made.configuration, log);
    expect(options.limits?.perPerson).toEqual({ requests: 5, perSeconds: 60 });
    expect(options.limits?.perService).toEqual({ requests: 7, perSeconds: 60 });
    expect(options.limits?.perAddress).toEqual({ requests: 600, perSeconds: 60 });
    expect(configuration.limits).toMatchObject({ connections: 32, connections_per_address: 256 });
  });
});

describe('what ca.yaml names', () => {
  test('is read into what createCa takes, and a CA starts with it', async () => {
    const { configuration, options } = await loadCa(made.configuration, log);
    expect(options).toMatchObject({
      publicUrl: 'https://ca.example',
      store: { file: made.at('data/ca.db') },
      sessionMaxHours: 8,
      inventory: { commands: {} },
      github: { clientId: 'Iv1.made0000000000', provider: 'github', apiUrl: 'https://api.github.com' },
    });
    expect(configuration.listen).toEqual({ host: '127.0.0.1', port: 8443 });
    expect(fingerprint(options.keys.userCa.publicKey)).not.toBe(fingerprint(options.keys.hostCa.publicKey));
    const running = await createCa(options);
    await running.close();
  });

  test('keeps the client secret out of what can be printed', async () => {
    const { options } = await loadCa(made.configuration, log);
    expect(JSON.stringify({ ...options, log: undefined })).not.toContain('made-ca-client-secret-canary');
  });

  test.each<[string, () => void, string, RegExp]>([
    [
      'an App that is not set',
      () => made.edit('ca.yaml', 'Iv1.made0000000000', 'SET-ME'),
      'configuration',
      /client_id/,
    ],
    [
      'no client secret',
      () => rmSync(made.at('keys/github_client_secret')),
      'configuration',
      /github_client_secret/,
    ],
    ['no key', () => rmSync(made.at('keys/host_ca')), 'secret-file', /host_ca/],
    ['another passphrase', () => writeFileSync(made.at('keys/passphrase'), 'x\n'), 'keys', /passphrase/],
    ['no policy folder', () => rmSync(made.at('policy'), { recursive: true }), 'policy', /policy/],
    ['no inventory', () => rmSync(made.at('inventory.yaml')), 'configuration', /inventory\.yaml/],
    ['no services file', () => rmSync(made.at('services.yaml')), 'configuration', /services\.yaml/],
  ])('is refused with %s, by name', async (_what, damage, code, words) => {
    damage();
    await expect(loadCa(made.configuration, log)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(words),
    });
  });
});

describe('the policy folder', () => {
  test('is read in the order of names; what is hidden or no .cedar file is not', () => {
    for (const name of ['z.cedar', 'a.cedar', '.hidden.cedar', 'readme.md', 'a.cedar.bak', 'a.cedar~'])
      writeFileSync(made.at(`policy/${name}`), '');
    expect(policies().map(({ name }) => name)).toEqual(['a.cedar', 'policy.cedar', 'z.cedar']);
  });

  test('without a file allows nothing, which is no error', () => {
    rmSync(made.at('policy/policy.cedar'));
    expect(policies()).toEqual([]);
  });

  test.each<[string, () => void]>([
    ['is not UTF-8', () => writeFileSync(made.at('policy/b.cedar'), Buffer.from([0x2f, 0x2f, 0xff]))],
    ['is longer than 1 MiB', () => writeFileSync(made.at('policy/b.cedar'), `//${'x'.repeat(1024 * 1024)}`)],
    ['is a folder', () => mkdirSync(made.at('policy/b.cedar'))],
  ])('with a file that %s is refused', (_what, damage) => {
    damage();
    expect(policies).toThrow();
  });
});

test('an inventory with an unknown key is refused with its place and the nearest known one', () => {
  writeFileSync(made.at('inventory.yaml'), 'version: 1\ncommands:\n  a.b: { parms: {} }\n');
  expect(() => readInventory(made.at('inventory.yaml'))).toThrow(/inventory\.yaml.*parms.*params/s);
});
