import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseTrustRoot } from '@beacon/protocol/trust';
import { formatPublicKeyLine, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readCaConfiguration } from '../src/configuration.ts';
import { readCaKeys } from '../src/keys.ts';
import { main } from '../src/main.ts';
import { draftRoot, makeKeyFile, signRoot } from '../src/trust-documents.ts';
import { readSignedRoot } from '../src/trust-root.ts';
import { type MadeCa, makeCheapCa } from './made-ca.ts';
import { newSigner } from './small-ca.ts';

let made: MadeCa;
let folder: string;
const at = (name: string) => join(folder, name);
const now = new Date();
beforeAll(async () => {
  made = await makeCheapCa();
  folder = mkdtempSync(join(tmpdir(), 'beacon-root-'));
});
afterAll(() => {
  made.remove();
  rmSync(folder, { recursive: true, force: true });
});

const draft = (out: string, change: Partial<Parameters<typeof draftRoot>[0]> = {}) =>
  draftRoot(
    { configurationFile: made.configuration, out, logins: [], userCa: [], hostCa: [], ...change },
    now,
  );

test('the root key is made behind a passphrase of its own, and never written over', async () => {
  const key = await makeKeyFile(at('root_key'), 'trust root');
  expect(key.passphraseFile).toBe(at('root_key.passphrase'));
  for (const name of ['root_key', 'root_key.passphrase']) expect(statSync(at(name)).mode & 0o777).toBe(0o600);
  const shown = execFileSync('ssh-keygen', ['-lf', at('root_key.pub')], { encoding: 'utf8' });
  expect(shown).toContain(key.fingerprint);
  await expect(makeKeyFile(at('root_key'), 'trust root')).rejects.toMatchObject({ code: 'keys' });
});

test('a CA that names no root key draws up no root', async () => {
  await expect(draft(at('none.json'))).rejects.toMatchObject({ code: 'trust-unpublished' });
});

test('a draft names the keys in use and what is added; it is signed over its exact bytes, as ssh-keygen reads it', async () => {
  writeFileSync(made.at('trust_root.pub'), readFileSync(at('root_key.pub')));
  made.edit('ca.yaml', '# trust_root:', 'trust_root:');
  const next = `${formatPublicKeyLine(newSigner().publicKey)}\n`;
  writeFileSync(at('next.pub'), next);
  const root = await draft(at('root.json'), { userCa: [at('next.pub')], logins: ['beacon', 'deploy'] });
  const keys = await readCaKeys(readCaConfiguration(made.configuration).keys);
  expect(root).toMatchObject({
    version: 1,
    logins: ['beacon', 'deploy'],
    userCa: [formatPublicKeyLine(keys.userCa.publicKey), next.trimEnd()],
    hostCa: [formatPublicKeyLine(keys.hostCa.publicKey)],
  });
  expect(root.expires.getTime() - root.issued.getTime()).toBe(365 * 86_400_000);

  const [document, key] = [at('root.json'), at('root_key')];
  const signed = await signRoot({ document, key, passphraseFile: `${key}.passphrase` }, now);
  expect(signed).toMatchObject({ root: { version: 1 }, signature: at('root.json.sig') });
  const text = readFileSync(document, 'utf8');
  const signature = readFileSync(at('root.json.sig'), 'utf8');
  const { key: publicKey } = parsePublicKeyLine(readFileSync(at('root_key.pub'), 'utf8').trimEnd());
  expect(readSignedRoot({ document: text, signature }, publicKey)).toEqual(parseTrustRoot(Buffer.from(text)));
  const words = ['-Y', 'check-novalidate', '-n', 'trust-root@beacon', '-s', at('root.json.sig')];
  execFileSync('ssh-keygen', words, { input: text });
  await expect(signRoot({ document, key, passphraseFile: `${key}.passphrase` }, now)).rejects.toMatchObject({
    code: 'keys',
  });
});

test('only a root that has not expired is signed, by a key that opens', async () => {
  const [document, key] = [at('root.json'), at('root_key')];
  const passphraseFile = `${key}.passphrase`;
  const late = new Date(now.getTime() + 366 * 86_400_000);
  await expect(signRoot({ document, key, passphraseFile }, late)).rejects.toMatchObject({
    code: 'trust-root-refused',
  });
  writeFileSync(at('other.json'), '{}\n');
  await expect(signRoot({ document: at('other.json'), key, passphraseFile }, now)).rejects.toMatchObject({
    code: 'trust-root-refused',
  });
  const wrong = { document, key, passphraseFile: made.at('keys/passphrase') };
  await expect(signRoot(wrong, now)).rejects.toMatchObject({ code: 'keys' });
});

test.each([
  ['ca', 'key'],
  ['ca', 'key', 'x', '--for', 'nobody'],
  ['ca', 'root', 'init'],
  ['ca', 'root', 'draft'],
  ['ca', 'root', 'sign', 'x'],
])('what is missing is said with the usage: %s %s', async (...argv) => {
  await expect(main(argv.filter((word) => word !== undefined))).rejects.toMatchObject({
    kind: 'invalid',
    message: expect.stringContaining('Usage:'),
  });
});

test('keys that stand in the wrong place are refused', async () => {
  const { keys } = readCaConfiguration(made.configuration);
  const swapped = { ...keys, trust_status: keys.user_ca };
  await expect(readCaKeys(swapped)).rejects.toMatchObject({ code: 'keys' });
  const { trust_status: _status, ...without } = keys;
  await expect(readCaKeys(without)).rejects.toMatchObject({ code: 'keys' });
  const same = { ...keys, trust_root: made.at('keys/trust_status.pub') };
  await expect(readCaKeys(same)).rejects.toMatchObject({ code: 'keys' });
});
