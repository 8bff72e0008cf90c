import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SshError } from '../src/error.ts';
import { formatKnownHost, type KnownHost, parseKnownHost } from '../src/known-hosts.ts';
import { formatPublicKeyLine, publicKeyFromKeyObject } from '../src/public-key.ts';

const key = publicKeyFromKeyObject(generateKeyPairSync('ed25519').publicKey);
const keyLine = formatPublicKeyLine(key);
const authority: KnownHost = { host: 'build-01', port: 22, key, isAuthority: true };

const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof SshError) return error.code;
    throw error;
  }
  return 'none';
};

describe('formatKnownHost and parseKnownHost', () => {
  test('the line of a CA names one host id', () => {
    expect(formatKnownHost(authority)).toBe(`@cert-authority build-01 ${keyLine}`);
    expect(parseKnownHost(`@cert-authority build-01 ${keyLine}\n`)).toEqual(authority);
  });

  test('a port other than 22 stands behind the bracketed name', () => {
    expect(formatKnownHost({ host: '127.0.0.1', port: 2222, key, isAuthority: false })).toBe(
      `[127.0.0.1]:2222 ${keyLine}`,
    );
    expect(formatKnownHost({ host: '2001:db8::1', port: 22, key, isAuthority: false })).toBe(
      `2001:db8::1 ${keyLine}`,
    );
  });

  test('ssh-keygen finds the host in the line', () => {
    const directory = mkdtempSync(join(tmpdir(), 'known-hosts-'));
    const file = join(directory, 'known_hosts');
    writeFileSync(
      file,
      [authority, { host: '::1', port: 2222, key, isAuthority: false }]
        .map((entry) => `${formatKnownHost(entry)}\n`)
        .join(''),
    );
    const find = (host: string): string =>
      execFileSync('ssh-keygen', ['-F', host, '-f', file], { encoding: 'utf8' });
    expect(find('build-01')).toContain('CA');
    expect(find('[::1]:2222')).toContain(keyLine);
    rmSync(directory, { recursive: true });
  });

  test('parse ∘ format is the identity', () => {
    const host = fc.stringMatching(/^[a-z0-9:][a-z0-9.:_-]{0,40}$/);
    fc.assert(
      fc.property(host, fc.integer({ min: 1, max: 65_535 }), fc.boolean(), (name, port, isAuthority) => {
        const entry = { host: name, port, key, isAuthority };
        expect(parseKnownHost(formatKnownHost(entry))).toEqual(entry);
      }),
    );
  });

  test.each([
    '*',
    'a,b',
    '!a',
    'A',
    '-a',
    '|1|x|y',
    'a b',
    'a\nb',
    'a\0',
    '@cert-authority',
    '#a',
    '[a]',
    'ä',
    '',
    'a'.repeat(254),
  ])('refuses to write the host %j', (host) => {
    expect(codeOf(() => formatKnownHost({ ...authority, host }))).toBe('known-hosts-malformed');
  });

  test.each([0, 65_536, 1.5, Number.NaN])('refuses to write the port %d', (port) => {
    expect(codeOf(() => formatKnownHost({ ...authority, port }))).toBe('known-hosts-malformed');
  });

  test.each([
    '',
    'build-01',
    `* ${keyLine}`,
    `a,b ${keyLine}`,
    `@revoked a ${keyLine}`,
    `@cert-authority  a ${keyLine}`,
    `[a]:22 ${keyLine}`,
    `[a]:0 ${keyLine}`,
    `[a]:65536 ${keyLine}`,
    `[a]:022 ${keyLine}`,
    `a ${keyLine} comment`,
    ` a ${keyLine}`,
    `a  ${keyLine}`,
    `a ${keyLine}\n\n`,
    `a ${keyLine}\na ${keyLine}`,
  ])('refuses to read %j', (line) => {
    expect(codeOf(() => parseKnownHost(line))).toMatch(/^(known-hosts-malformed|key-line-malformed)$/);
  });

  test('every cut and every flipped bit raises nothing but SshError, and none reads as the same line', () => {
    const line = formatKnownHost({ host: 'build-01', port: 2222, key, isAuthority: true });
    for (let length = 0; length < line.length; length++) {
      expect(codeOf(() => parseKnownHost(line.slice(0, length)))).not.toBe('none');
    }
    const bytes = Buffer.from(line);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      const text = flipped.toString('latin1');
      if (codeOf(() => parseKnownHost(text)) === 'none') {
        expect(formatKnownHost(parseKnownHost(text))).toBe(text);
      }
    }
  });
});
