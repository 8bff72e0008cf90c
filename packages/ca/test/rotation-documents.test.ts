import { readFileSync, writeFileSync } from 'node:fs';
import { parseTrustRoot } from '@beacon/protocol/trust';
import { fingerprint } from '@beacon/ssh/public-key';
import { createUserCa } from '@beacon/ssh/sign-certificate';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readCaConfiguration } from '../src/configuration.ts';
import { type CaKeys, readCaKeys } from '../src/keys.ts';
import { draftRoot } from '../src/trust-documents.ts';
import { type MadeCa, makeCheapCa } from './made-ca.ts';
import { runMain } from './run-main.ts';
import { newSigner, refusal } from './small-ca.ts';
import { lineOf, publish, startTrustLab, type TrustLab } from './trust-lab.ts';

const LIFETIME_SECONDS = 60;

let made: MadeCa;
let lab: TrustLab;
let keys: CaKeys;
const root = newSigner();
const readKeys = () => readCaKeys(readCaConfiguration(made.configuration).keys);
beforeAll(async () => {
  made = await makeCheapCa();
  writeFileSync(made.at('trust_root.pub'), `${lineOf(root.publicKey)}\n`);
  made.edit('ca.yaml', '# trust_root:', 'trust_root:');
  keys = await readKeys();
  const place = { file: made.at('data/ca.db') };
  lab = { ...(await startTrustLab({ place }, keys)), root };
}, 120_000);
afterAll(async () => {
  await lab?.ca.close();
  made?.remove();
});

const config = () => ['--config', made.configuration];
const draft = (out: string, retire?: 'ready' | 'now', laterMs = 0) =>
  draftRoot(
    {
      configurationFile: made.configuration,
      out: made.at(out),
      logins: [],
      userCa: [],
      hostCa: [],
      ...(retire === undefined ? {} : { retire }),
    },
    new Date(Date.now() + laterMs),
  );
const hand = async (file: string, now?: boolean) =>
  publish(lab, readFileSync(made.at(file), 'utf8'), now === undefined ? {} : { now });
const old = () => lineOf(keys.userCa.publicKey);

test('B13: prepare makes a key that nothing is signed with, and a root that names both', async () => {
  await draft('root-1.json');
  expect((await hand('root-1.json')).status).toBe(201);
  const words = ['--for', 'user', '--passphrase-file', made.at('keys/passphrase')];
  const out = ['--out', made.at('root-2.json'), ...config()];
  const prepared = await runMain(['ca', 'rotate', 'prepare', made.at('keys/user_ca_2'), ...words, ...out]);
  expect(prepared.status).toBe(0);
  expect(prepared.stderr).toContain(
    `user_ca_next: { file: ${made.at('keys/user_ca_2')}, passphrase_file: ${made.at('keys/passphrase')} }`,
  );
  const next = '  user_ca_next: { file: keys/user_ca_2, passphrase_file: keys/passphrase }';
  made.edit('ca.yaml', /^ {2}user_ca: .*$/m, `$&\n${next}`);
  keys = await readKeys();
  const both = [old(), lineOf((keys.userCaNext ?? keys.userCa).publicKey)];
  expect(new Set(both).size).toBe(2);
  expect(parseTrustRoot(readFileSync(made.at('root-2.json'))).userCa).toEqual(both);
  await lab.ca.restart({ keys });
  expect((await hand('root-2.json')).status).toBe(201);
  expect((await lab.ca.send('GET', '/v1/ca-keys')).body['user']).toHaveLength(2);
});

test('B13: a root that is drawn up in the middle breaks nothing off', async () => {
  const drawn = await draft('middle.json');
  expect(drawn.userCa).toEqual([old(), lineOf((keys.userCaNext ?? keys.userCa).publicKey)]);
  expect((await draft('retire-next.json', 'ready')).userCa).toEqual(drawn.userCa);
});

test('B13: retire waits for the last certificate of the former key, unless it is said to be stolen', async () => {
  const next = keys.userCaNext ?? keys.userCa;
  const issued = await lab.ca.sign(lab.ada, { host: 'web-01', lifetime_seconds: LIFETIME_SECONDS });
  expect(issued.status).toBe(201);
  const request = { v: 1, key: fingerprint(next.publicKey), without: [], reason: 'a test' };
  expect((await lab.ca.ask(lab.ada, 'POST', '/v1/rotation', request)).status).toBe(201);
  await expect(draft('early.json', 'ready')).rejects.toMatchObject({
    code: 'rotation-waits',
    message: expect.stringContaining(String(issued.body['valid_before'])),
  });
  const late = await draft('late.json', 'ready', (LIFETIME_SECONDS + 1) * 1000);
  expect(late.userCa).toEqual([lineOf(next.publicKey)]);
  expect((await draft('root-3.json', 'now')).userCa).toEqual([lineOf(next.publicKey)]);
  expect(refusal(await hand('root-3.json'))).toEqual({ status: 409, code: 'rotation-waits' });
  expect((await hand('root-3.json', true)).status).toBe(201);
  // ca.yaml names it still; what was retired or revoked comes back into no root by itself.
  expect((await draft('root-4.json')).userCa).toEqual([lineOf(next.publicKey)]);
});

test('a key that is lost is left by a start, and by no other word', async () => {
  const words = ['ca', 'rotate', 'lost', '--for', 'user', ...config()];
  expect((await runMain(words)).stderr).toContain('Usage: beacon ca rotate lost');
  // A CA that serves holds the store.
  expect((await runMain([...words, '--reason', 'broke'])).stderr).toContain('stop it first');
  await lab.ca.down();
  const done = await runMain([...words, '--reason', 'broke', '--json']);
  expect([done.status, done.stderr]).toEqual([0, '']);
  expect(JSON.parse(done.stdout)).toMatchObject({
    key: fingerprint((keys.userCaNext ?? keys.userCa).publicKey),
  });
  const other = createUserCa(newSigner());
  await lab.ca.up({ keys: { ...keys, userCa: other } });
  const [record, before] = (await lab.ca.records()).toReversed();
  expect(before).toMatchObject({ kind: 'ca-key-lost', facts: { authority: 'user', reason: 'broke' } });
  expect(record).toMatchObject({ kind: 'ca-key', facts: { key: fingerprint(other.publicKey) } });
});
