import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readCaConfiguration, readCases, readInventoryFile, readServices } from '../src/configuration.ts';
import { configurationText } from '../src/init-files.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'beacon-configuration-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const whole = configurationText({
  publicUrl: 'https://ca.example',
  listenHost: '127.0.0.1',
  listenPort: 8443,
  provider: 'github',
  webUrl: 'https://github.com',
  apiUrl: 'https://api.github.com',
  clientId: 'Iv1.x',
});

function write(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

function configured(from: string | RegExp = '', to = '') {
  const text = whole.replace(from, to);
  if (from !== '' && text === whole) throw new Error(`${String(from)} is not there`);
  return readCaConfiguration(write('ca.yaml', text));
}

describe('ca.yaml', () => {
  test('gives absolute paths beside itself, and every default', () => {
    expect(configured()).toMatchObject({
      public_url: 'https://ca.example',
      trusted_proxies: [],
      store: join(folder, 'data/ca.db'),
      keys: { user_ca: { file: join(folder, 'keys/user_ca') }, sealing: join(folder, 'keys/sealing') },
      session: { max_hours: 8 },
      policy: join(folder, 'policy'),
    });
    expect(configured('store: data/ca.db', 'store: /var/lib/ca.db').store).toBe('/var/lib/ca.db');
    expect(configured(/session: .*\n/, '').session.max_hours).toBe(8);
    expect(configured('session: { max_hours: 8 }', 'session: { max_hours: 0.5 }').session.max_hours).toBe(
      0.5,
    );
  });

  test('leaves a systemd credential to be found when it is read, for secrets alone', () => {
    expect(configured(/: keys\//g, ': $CREDENTIALS_DIRECTORY/')).toMatchObject({
      keys: {
        user_ca: {
          file: '$CREDENTIALS_DIRECTORY/user_ca',
          passphrase_file: '$CREDENTIALS_DIRECTORY/passphrase',
        },
        sealing: '$CREDENTIALS_DIRECTORY/sealing',
      },
      github: { client_secret_file: '$CREDENTIALS_DIRECTORY/github_client_secret' },
    });
    for (const path of ['$CREDENTIALS_DIRECTORY/ca.db', '$HOME/ca.db', '$X/ca.db'])
      expect(() => configured('store: data/ca.db', `store: "${path}"`)).toThrow(
        expect.objectContaining({ code: 'configuration', message: expect.stringContaining(path) }),
      );
    expect(() => configured('keys/sealing', '$HOME/sealing')).toThrow(/CREDENTIALS_DIRECTORY/);
  });

  test.each<[string, string | RegExp, string, RegExp]>([
    ['an unknown key, with the nearest known one', 'policy: policy', 'polcy: policy', /polcy.*policy/s],
    ['an unknown key below another', 'provider: github', 'provder: github', /provder.*provider/s],
    ['a missing key', /public_url: .*\n/, '', /public_url/],
    ['plain http beyond loopback', 'https://ca.example', 'http://ca.example', /https/],
    [
      'http to a name that begins like loopback',
      'https://ca.example',
      'http://127.0.0.1.evil.example',
      /https/,
    ],
    ['a public URL with a query', 'https://ca.example', 'https://ca.example?x', /public_url/],
    ['a session over 8 hours', 'max_hours: 8', 'max_hours: 8.01', /max_hours/],
    ['a session of no time', 'max_hours: 8', 'max_hours: 0', /max_hours/],
    ['a session that is no number', 'max_hours: 8', 'max_hours: long', /max_hours/],
    ['a port over 65535', 'port: 8443', 'port: 65536', /port/],
    ['a provider in capitals', 'provider: github', 'provider: GitHub', /provider/],
    [
      'a secret by value',
      'client_secret_file: keys/github_client_secret',
      'client_secret: hunter2',
      /client_secret/,
    ],
    ['two of one key', 'policy: policy', 'policy: policy\npolicy: other', /unique/],
    ['an alias', 'policy: policy', 'policy: &a policy\nservices: *a', /ca\.yaml/],
    ['no YAML', 'policy: policy', 'policy: [', /ca\.yaml/],
  ])('refuses %s, with the file', (_what, from, to, words) => {
    expect(() => configured(from, to)).toThrow(words);
    expect(() => configured(from, to)).toThrow(/ca\.yaml/);
  });

  test('http is taken on loopback', () => {
    for (const url of ['http://127.0.0.1:8443', 'http://localhost:8443', 'http://[::1]:8443'])
      expect(configured('https://ca.example', `"${url}"`).public_url).toBe(url);
  });

  test('a refusal does not repeat the value of a secret that was written into the file', () => {
    expect(() => configured('keys/github_client_secret', '{ value: hunter2-canary }')).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('hunter2-canary') }),
    );
  });
});

describe('services.yaml', () => {
  const x = 'A'.repeat(43);
  const entry = (more: string) =>
    `version: 1\nservices:\n  portal:\n    name: P\n    keys: [{ kty: OKP, crv: Ed25519, x: ${x}, kid: k }]\n    may: [exchange]\n${more}`;
  const services = (text: string) => readServices(write('services.yaml', text));

  test('gives each service by its id, with what it may do', () => {
    expect(services(entry('')).get('portal')).toMatchObject({
      id: 'portal',
      may: ['exchange'],
      source_addresses: [],
      redirect_uris: [],
    });
    expect(services('version: 1\nservices: {}\n').size).toBe(0);
  });

  test.each<[string, string]>([
    ['a right that there is not', entry('').replace('exchange', 'everything')],
    ['no key', entry('').replace(/keys: .*/, 'keys: []')],
    ['a private key', entry('').replace('kid: k', `kid: k, d: ${x}`)],
    ['an RSA key', entry('').replace('kty: OKP', 'kty: RSA')],
    ['a short key', entry('').replace(x, 'AAAA')],
    ['an id in capitals', entry('').replace('portal', 'Portal')],
    ['the same id twice', `${entry('')}  portal: { name: Q, may: [] }\n`],
    ['an address with an exclamation mark', entry('    source_addresses: ["!192.0.2.1"]\n')],
    ['a wildcard address', entry('    source_addresses: ["192.0.2.*"]\n')],
    ['two addresses in one', entry('    source_addresses: ["192.0.2.1,0.0.0.0/0"]\n')],
    ['a network with bits behind its mask', entry('    source_addresses: ["192.0.2.1/24"]\n')],
    ['an address that is none', entry('    source_addresses: ["192.0.2"]\n')],
    ['the id of the command line', entry('').replace('portal', 'beacon-cli')],
    ['a redirect address that is none', entry('    redirect_uris: ["callback"]\n')],
    ['version 2', entry('').replace('version: 1', 'version: 2')],
  ])('refuses %s', (_what, text) => {
    expect(() => services(text)).toThrow(/services\.yaml|private key/);
  });
});

test('inventory and cases are read as values; their own packages check them', () => {
  expect(readInventoryFile(write('inventory.yaml', 'version: 1\ncommands: {}\n'))).toEqual({
    version: 1,
    commands: {},
  });
  expect(() => readInventoryFile(write('inventory.yaml', 'commnds: {}\n'))).toThrow(/commnds/);
  expect(readCases(write('cases.yaml', 'version: 1\ncases: [{ a: 1 }]\n'))).toEqual([{ a: 1 }]);
  expect(() => readCases(write('cases.yaml', 'cases: []\n'))).toThrow(/version/);
  expect(readFileSync(join(folder, 'cases.yaml'), 'utf8')).toBe('cases: []\n');
});
