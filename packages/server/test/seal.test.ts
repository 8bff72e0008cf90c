import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createSealer, ServerError } from '../src/index.ts';
import { codeOf } from './temporary.ts';

const sealer = createSealer(randomBytes(32));

test('opens what it sealed', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.string(), (plain, associated) => {
      expect(sealer.open(sealer.seal(plain, associated), associated)).toEqual(Buffer.from(plain));
    }),
  );
});

test('derives a key for each purpose, the same for the same key, and none that opens what is sealed', async () => {
  const key = randomBytes(32);
  const one = createSealer(key);
  expect(one.derive('cookie')).toEqual(createSealer(key).derive('cookie'));
  expect(one.derive('cookie')).toHaveLength(32);
  expect(one.derive('other')).not.toEqual(one.derive('cookie'));
  expect(sealer.derive('cookie')).not.toEqual(one.derive('cookie'));
  expect(await codeOf(() => createSealer(one.derive('cookie')).open(one.seal('x', 'y'), 'y'))).toBe('seal');
});

test('seals the same text differently each time, and shows its form', () => {
  const sealed = sealer.seal('gho_token', 'session/1');
  expect(sealed).toMatch(/^1[.][A-Za-z0-9_-]+$/);
  expect(sealer.seal('gho_token', 'session/1')).not.toBe(sealed);
});

test('refuses a wrong key, another place, another form', async () => {
  const sealed = sealer.seal('gho_token', 'session/1');
  expect(await codeOf(() => createSealer(randomBytes(32)).open(sealed, 'session/1'))).toBe('seal');
  expect(await codeOf(() => sealer.open(sealed, 'session/2'))).toBe('seal');
  for (const text of [
    '',
    '1.',
    sealed.slice(2),
    `2${sealed.slice(1)}`,
    `${sealed}=`,
    `${sealed}\n`,
    `1.${'A'.repeat(20)}`,
  ]) {
    expect(await codeOf(() => sealer.open(text, 'session/1'))).toBe('seal');
  }
});

test('refuses every flipped bit and every cut', () => {
  const bytes = Buffer.from(sealer.seal('gho_token', 'a').slice(2), 'base64url');
  const refuses = (changed: Buffer): void => {
    try {
      sealer.open(`1.${changed.toString('base64url')}`, 'a');
    } catch (error) {
      if (error instanceof ServerError && error.code === 'seal') return;
      throw error;
    }
    throw new Error('it was opened');
  };
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Buffer.from(bytes);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    refuses(changed);
  }
  for (let length = 0; length < bytes.length; length++) refuses(bytes.subarray(0, length));
});

test('refuses a key that is not 32 bytes', async () => {
  expect(await codeOf(() => createSealer(randomBytes(31)))).toBe('seal');
});
