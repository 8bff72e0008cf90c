import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { readSecretFile } from '../src/index.ts';
import { codeOf, temporaryFolder } from './temporary.ts';

function file(content: string | Uint8Array, mode = 0o600): string {
  const path = join(temporaryFolder(), 'secret');
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

test('takes off one newline at the end and nothing else', () => {
  expect(readSecretFile(file('secret\n')).toString()).toBe('secret');
  expect(readSecretFile(file(' secret \n\n')).toString()).toBe(' secret \n');
  expect(readSecretFile(file('secret\r\n')).toString()).toBe('secret\r');
  expect(readSecretFile(file('secret', 0o400)).toString()).toBe('secret');
});

test('leaves a binary key whole, whose last byte may look like a newline', async () => {
  const key = new Uint8Array(32).fill(10);
  expect(readSecretFile(file(key), { exactBytes: 32 })).toHaveLength(32);
  expect(await codeOf(() => readSecretFile(file(key), { exactBytes: 31 }))).toBe('secret-file');
});

test('follows the links by which credentials are often mounted', () => {
  const link = join(temporaryFolder(), 'link');
  symlinkSync(file('secret'), link);
  expect(readSecretFile(link).toString()).toBe('secret');
});

test('refuses a file that others may read or write', async () => {
  for (const mode of [0o640, 0o604, 0o620, 0o602, 0o644]) {
    expect(await codeOf(() => readSecretFile(file('secret', mode)))).toBe('secret-file');
  }
});

test('refuses what is missing, empty, too long or no plain file, without repeating the secret', async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'folder'), { mode: 0o700 });
  expect(await codeOf(() => readSecretFile(join(folder, 'missing')))).toBe('secret-file');
  expect(await codeOf(() => readSecretFile(join(folder, 'folder')))).toBe('secret-file');
  expect(await codeOf(() => readSecretFile(file('')))).toBe('secret-file');
  expect(await codeOf(() => readSecretFile(file('\n')))).toBe('secret-file');
  expect(() => readSecretFile(file('hunter2'), { maxBytes: 3 })).toThrow(
    expect.objectContaining({ code: 'secret-file', message: expect.not.stringContaining('hunter2') }),
  );
});
