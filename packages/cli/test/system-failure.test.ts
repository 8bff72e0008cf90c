import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { systemFailure } from '../src/system-failure.ts';

test('names the file, the reason and what to do', () => {
  let thrown: unknown;
  try {
    readFileSync('/nowhere/session.json');
  } catch (error) {
    thrown = error;
  }
  expect(systemFailure(thrown)).toBe(
    '/nowhere/session.json: there is no such file or folder: make it first (ENOENT)',
  );
});

test('knows a full disk without a path, and a code that it has no words for', () => {
  const failed = (code: string) => Object.assign(new Error('x'), { code, syscall: 'write' });
  expect(systemFailure(failed('ENOSPC'))).toBe('the disk is full: make space, then try again (ENOSPC)');
  expect(systemFailure(failed('EIO'))).toBe('write failed (EIO)');
});

test('leaves every other error alone', () => {
  expect(systemFailure(new TypeError('x'))).toBeUndefined();
  expect(systemFailure('x')).toBeUndefined();
});
