/** The documents hold together: links lead somewhere, commands exist, and what they say of settings is what there is. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';

const root = join(import.meta.dirname, '..', '..');
const pages = [
  'README.md',
  'SECURITY.md',
  'CHANGELOG.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];
const textOf = (page: string) => readFileSync(join(root, page), 'utf8');

function beacon(argv: readonly string[]): { status: number | null; text: string } {
  const bin = join(root, 'packages', 'cli', 'bin', 'beacon.js');
  const ran = spawnSync(process.execPath, [bin, ...argv], {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  });
  return { status: ran.status, text: ran.stdout + ran.stderr };
}

describe('every page', () => {
  test.each(pages)('%s links to files that are there', (page) => {
    const links = [...textOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) =>
      link.split('#', 1).join(''),
    );
    const missing = links.filter(
      (link) => link !== '' && !/^[a-z]+:/.test(link) && !existsSync(join(root, dirname(page), link)),
    );
    expect(missing).toEqual([]);
  });

  test('holds no path of one machine and no unfinished sentence', () => {
    for (const page of pages) expect(textOf(page)).not.toMatch(/\/home\/[a-z]|TODO|FIXME|XXX/);
  });
});

/** Every `beacon …` in a shell block or in code, as far as its words are command names. */
const commands = new Set(
  pages.flatMap((page) =>
    [...textOf(page).matchAll(/(?:^\s*|`)(?:npx )?beacon ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)*)/gm)].map(
      ([, words = '']) => words,
    ),
  ),
);
const TREE: Readonly<Record<string, readonly string[]>> = {
  broker: ['init', 'serve', 'ready', 'check'],
  ca: [
    ...['init', 'serve', 'ready', 'check', 'backup', 'restore', 'token-key', 'key'],
    ...['service', 'host', 'person', 'root', 'rotate'],
  ],
  'ca host': ['add', 'list', 'status', 'disable', 'enable', 'token', 'tokens', 'revoke-token'],
  'ca root': ['init', 'draft', 'sign', 'publish'],
  'ca rotate': ['prepare', 'status', 'activate', 'retire', 'lost'],
  'ca person': ['list', 'disable', 'enable'],
  host: ['init', 'check', 'sync', 'remove'],
  policy: ['check', 'test', 'explain'],
  records: ['tail', 'verify', 'trace', 'erase'],
  runs: ['watch', 'cancel', 'look', 'resume', 'retry', 'undo'],
  certificate: ['show'],
  revocations: ['show'],
};

test('the documents name commands that there are', () => {
  const help = beacon(['--help']).text;
  const top = [...help.matchAll(/^ {2}([a-z][a-z-]*)/gm)].map(([, name = '']) => name);
  const unknown = [...commands].filter((words) => {
    const [first = '', second, third] = words.split(' ');
    if (!top.includes(first)) return true;
    if (second === undefined || !(first in TREE)) return false;
    if (!TREE[first]?.includes(second)) return true;
    const deeper = TREE[`${first} ${second}`];
    return deeper !== undefined && third !== undefined && !deeper.includes(third);
  });
  expect(unknown).toEqual([]);
  for (const [words, names] of Object.entries(TREE)) {
    const { text } = beacon([...words.split(' '), '--help']);
    expect({ words, missing: names.filter((name) => !text.includes(name)) }).toEqual({ words, missing: [] });
  }
});

test('docs/operate.md names the files that init makes', () => {
  const page = textOf('docs/operate.md');
  for (const name of [
    'user_ca',
    'host_ca',
    'passphrase',
    'token_signing.jwk',
    'sealing',
    'trust_status',
    'github_client_secret',
  ])
    expect(page).toContain(`\`keys/${name}\``);
  const settings = beacon(['ca', 'serve', '--help']);
  expect(settings.text).toContain('public_url');
});

test('docs/operate.md names refusals and figures that the program has', () => {
  const page = textOf('docs/operate.md');
  const sources = ['ca', 'server'].flatMap((name) =>
    readdirSync(join(root, 'packages', name, 'src')).map((file) => textOf(`packages/${name}/src/${file}`)),
  );
  const named = (pattern: RegExp) => [...new Set([...page.matchAll(pattern)].map(([, name = '']) => name))];
  const codes = named(/code="([a-z-]+)"/g);
  const figures = named(/\b(beacon_[a-z]+_[a-z_]+|http_[a-z]+_(?:total|seconds))\b/g);
  expect(codes.length).toBeGreaterThan(5);
  expect(figures.length).toBeGreaterThan(5);
  const missing = [...codes, ...figures].filter(
    (name) => !sources.some((text) => text.includes(`'${name}'`)),
  );
  // A word that may stand without quotes, as a key.
  expect(missing.filter((name) => !sources.some((text) => text.includes(`\n  ${name}: '`)))).toEqual([]);
});
