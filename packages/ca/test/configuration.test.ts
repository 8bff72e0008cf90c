import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readCaConfiguration } from '../src/configuration.ts';
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
