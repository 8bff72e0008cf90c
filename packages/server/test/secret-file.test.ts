import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
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

describe('a systemd credential', () => {
  const given = (content: string, mode = 0o400) => {
    const path = file(content, mode);
    return { path: `$CREDENTIALS_DIRECTORY/${basename(path)}`, folder: dirname(path) };
  };

  test('is read from the folder of CREDENTIALS_DIRECTORY', () => {
    const { path, folder } = given('secret\n');
    expect(readSecretFile(path, { credentials: folder }).toString()).toBe('secret');
  });

  test('is refused in words where there is no such folder', () => {
    for (const credentials of [undefined, '', 'relative']) {
      expect(() => readSecretFile(given('secret').path, { credentials })).toThrow(
        expect.objectContaining({
          code: 'secret-file',
          message: expect.stringContaining('CREDENTIALS_DIRECTORY='),
        }),
      );
    }
  });

  test('is one name in that folder, and nothing else is expanded', async () => {
    const { folder } = given('secret');
    for (const name of ['', '.', '..', '../secret', 'a/b', '$HOME', 'a b']) {
      const path = `$CREDENTIALS_DIRECTORY/${name}`;
      expect(await codeOf(() => readSecretFile(path, { credentials: folder }))).toBe('secret-file');
    }
    for (const path of ['$HOME/secret', '$CREDENTIALS_DIRECTORY_/secret', 'x/$CREDENTIALS_DIRECTORY/secret'])
      expect(await codeOf(() => readSecretFile(path, { credentials: folder }))).toBe('secret-file');
  });

  test('is refused when others than its reader may open it', async () => {
    for (const mode of [0o404, 0o444, 0o460, 0o602]) {
      const { path, folder } = given('secret', mode);
      expect(await codeOf(() => readSecretFile(path, { credentials: folder }))).toBe('secret-file');
    }
  });

  (process.getuid?.() === 0 ? test : test.skip)(
    'is read where an access list of a file of root shows as a mode of its group',
    async () => {
      const { path, folder } = given('secret', 0o440);
      expect(readSecretFile(path, { credentials: folder }).toString()).toBe('secret');
      chownSync(join(folder, basename(path)), 0, 65_534);
      expect(await codeOf(() => readSecretFile(path, { credentials: folder }))).toBe('secret-file');
    },
  );
});
