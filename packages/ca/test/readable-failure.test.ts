import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GitHubError } from '@beacon/github';
import { ServerError } from '@beacon/server';
import { afterAll, describe, expect, test } from '@jest/globals';
import { CaError } from '../src/error.ts';
import { main } from '../src/main.ts';
import { readableFailure } from '../src/readable-failure.ts';

const folder = mkdtempSync(join(tmpdir(), 'beacon-failure-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function refusal(argv: readonly string[]): Promise<CaError> {
  try {
    await main(argv);
  } catch (error) {
    if (error instanceof CaError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

describe('a failure of the machine', () => {
  test('names the file and what to do, without a stack', () => {
    const failure = readableFailure(
      Object.assign(new Error('x'), { code: 'EACCES', syscall: 'mkdtemp', path: '/etc/ca.new-XXXXXX' }),
    );
    expect(failure).toBeInstanceOf(CaError);
    expect(failure).toMatchObject({
      code: 'file',
      kind: 'unavailable',
      message:
        '/etc/ca: this program may not read or write there: run it as whoever may, or name another place',
    });
  });

  test('of a store or of GitHub keeps its kind', () => {
    expect(readableFailure(new ServerError('store-newer', 'x'))).toMatchObject({ kind: 'invalid' });
    expect(readableFailure(new ServerError('storage', 'x'))).toMatchObject({ kind: 'unavailable' });
    expect(readableFailure(new ServerError('configuration', 'x'))).toMatchObject({ kind: 'invalid' });
    expect(readableFailure(new GitHubError('configuration', 'x'))).toMatchObject({ kind: 'invalid' });
    expect(readableFailure(new GitHubError('unavailable', 'x'))).toMatchObject({ kind: 'unavailable' });
  });

  test('that nobody knows stays what it is', () => {
    const unknown = new TypeError('x');
    expect(readableFailure(unknown)).toBe(unknown);
  });
});

describe('what init would write and no start would read', () => {
  test.each([
    ['public-url', 'ca.example.org'],
    ['public-url', 'https://ca.example.org/'],
    ['public-url', 'https://ca.example.org/path'],
    ['public-url', 'http://ca.example.org'],
    ['listen', '8443'],
    ['listen', '127.0.0.1:99999'],
    ['listen', '0.0.0.0:8443'],
    ['provider', 'Git Hub'],
    ['client-id', 'a\nstore: b'],
    ['github-web-url', 'nonsense'],
  ])('is refused by the name of its option: --%s %j', async (name, value) => {
    const valid = name === 'public-url' ? [] : ['--public-url', 'https://ca.example.org'];
    const refused = await refusal(['ca', 'init', '--dir', join(folder, 'ca'), ...valid, `--${name}`, value]);
    expect(refused).toMatchObject({ kind: 'invalid', message: expect.stringContaining(`--${name}: `) });
  });

  test('a word too many is refused and not passed over', async () => {
    expect(await refusal(['ca', 'serve', 'other.yaml'])).toMatchObject({ kind: 'invalid' });
    expect(await refusal(['ca', 'bogus'])).toMatchObject({ kind: 'invalid' });
  });

  test('a folder inside a file is refused with the file’s name', async () => {
    const dir = join(import.meta.filename, 'ca');
    const before = readFileSync(import.meta.filename, 'utf8');
    const refused = await refusal(['ca', 'init', '--dir', dir, '--public-url', 'https://ca.example.org']);
    expect(refused).toMatchObject({ code: 'file', message: expect.stringContaining(import.meta.filename) });
    expect(readFileSync(import.meta.filename, 'utf8')).toBe(before);
  });
});
