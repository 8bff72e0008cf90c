import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readServices } from '../src/services-configuration.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'beacon-services-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

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
