import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { HOST_VERSION } from '../src/version.ts';

test('the release that a host says is that of its package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  expect(HOST_VERSION).toBe(version);
});
