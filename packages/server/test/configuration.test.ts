import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { z } from 'zod';
import {
  describeDefaults,
  duration,
  formatDuration,
  parseConfiguration,
  readConfiguration,
  ServerError,
} from '../src/index.ts';
import { temporaryFolder } from './temporary.ts';

const schema = z.strictObject({
  listen: z.strictObject({
    host: z.string().default('127.0.0.1').describe('The address to listen on'),
    port: z.int().min(1).max(65_535),
  }),
  session: z
    .strictObject({ idle: duration.prefault('15m'), maximum: duration.default(28_800_000) })
    .prefault({}),
  proxies: z.array(z.string()).default([]),
  hosts: z
    .array(z.strictObject({ id: z.string(), labels: z.record(z.string(), z.string()).optional() }))
    .optional(),
});

function refusal(text: string): string {
  try {
    parseConfiguration(text, 'ca.yaml', schema);
  } catch (error) {
    if (error instanceof ServerError && error.code === 'configuration') return error.message;
    throw error;
  }
  throw new Error('it was accepted');
}

test('reads values, fills in defaults, and turns lengths of time into milliseconds', () => {
  const path = join(temporaryFolder(), 'ca.yaml');
  writeFileSync(
    path,
    '# the CA\nlisten:\n  port: 8443\nsession: { maximum: 2h }\nhosts:\n  - id: build-01\n',
  );
  expect(readConfiguration(path, schema)).toEqual({
    listen: { host: '127.0.0.1', port: 8_443 },
    session: { idle: 900_000, maximum: 7_200_000 },
    proxies: [],
    hosts: [{ id: 'build-01' }],
  });
});

describe('refuses, with file, line and column', () => {
  const cases: [title: string, text: string, message: string][] = [
    [
      'an unknown key, with the nearest known one',
      'listen:\n  port: 1\n  hosst: x\n',
      'ca.yaml:3:3: listen.hosst: unknown key "hosst" (did you mean "host"?)',
    ],
    [
      'an unknown key inside a list',
      'listen: {port: 1}\nhosts:\n  - id: a\n  - idd: b\n',
      'ca.yaml:4:5: hosts[1].idd: unknown key "idd" (did you mean "id"?)',
    ],
    ['a doubled key', 'listen:\n  port: 1\n  port: 2\n', 'ca.yaml:3:3: Map keys must be unique'],
    [
      'a value of the wrong kind',
      'listen:\n  port: "1"\n',
      'ca.yaml:2:3: listen.port: Invalid input: expected number, received string',
    ],
    [
      'a missing key, at what should hold it',
      'proxies: []\nlisten:\n  host: a\n',
      'ca.yaml:2:1: listen.port: this is missing',
    ],
    ['an anchor', 'listen: &a {port: 1}\n', 'ca.yaml:1:12: anchors are not allowed'],
    ['an alias', 'proxies: [&b x, *b]\nlisten: {port: 1}\n', 'ca.yaml:1:17: aliases are not allowed'],
    ['a merge', 'listen:\n  <<: {port: 1}\n', 'ca.yaml:2:3: listen.<<: unknown key "<<"'],
    ['a tag', 'listen: {port: !!int "1"}\n', 'tags are not allowed'],
    [
      'a second document',
      'listen: {port: 1}\n---\nlisten: {port: 2}\n',
      'ca.yaml:1:1: the file must hold exactly one document',
    ],
    ['an empty file', '', 'ca.yaml:1:1: '],
    [
      'a list where an object should be',
      '- 1\n',
      'ca.yaml:1:1: Invalid input: expected object, received array',
    ],
    ['what is not YAML', 'listen: {port: 1\n', 'ca.yaml:2:1: '],
    ['a key that is not a text', '1: a\nlisten: {port: 1}\n', 'ca.yaml:1:1: '],
    [
      'a length of time without a unit',
      'listen: {port: 1}\nsession: {idle: "15"}\n',
      'ca.yaml:2:11: session.idle: expected a length of time such as 30s',
    ],
  ];
  for (const [title, text, message] of cases) {
    test(`${title}`, () => expect(refusal(text)).toContain(message));
  }

  test('every defect at once, a line each', () => {
    expect(refusal('listen: {port: 0, hots: a}\nproxies: 3\n').split('\n')).toHaveLength(3);
  });

  test('a YAML 1.1 word stays the text it is', () => {
    const value = parseConfiguration('listen: {port: 1, host: no}', 'ca.yaml', schema);
    expect(value.listen.host).toBe('no');
  });
});

test('does not repeat the value that it refuses', () => {
  expect(refusal('listen: {port: 1}\nproxies: hunter2\n')).not.toContain('hunter2');
});

test('refuses files that are missing, too long, no plain file, or not UTF-8', () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'folder'));
  writeFileSync(join(folder, 'long'), 'a'.repeat(300_000));
  writeFileSync(join(folder, 'latin'), Buffer.from([0x61, 0x3a, 0x20, 0xe9]));
  for (const name of ['missing', 'folder', 'long', 'latin']) {
    expect(() => readConfiguration(join(folder, name), schema)).toThrow(
      expect.objectContaining({ code: 'configuration', message: expect.stringContaining(`${name}:1:1: `) }),
    );
  }
});

test('throws nothing but its own error, whatever the text', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.json(), fc.string({ unit: fc.constantFrom(...'a:-?&*!|>{}[],\n "#%@`') })),
      (text) => {
        try {
          parseConfiguration(text, 'x', schema);
        } catch (error) {
          expect(error).toBeInstanceOf(ServerError);
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('a schema that lets unknown keys pass is a mistake of the program', () => {
  expect(() => parseConfiguration('a: {}', 'x', z.strictObject({ a: z.object({}) }))).toThrow(
    expect.objectContaining({ code: 'definition' }),
  );
});

test('describeDefaults shows every setting', () => {
  expect(describeDefaults(schema)).toEqual([
    { key: 'listen.host', required: false, default: '127.0.0.1', description: 'The address to listen on' },
    { key: 'listen.port', required: true, default: undefined, description: '' },
    { key: 'session.idle', required: false, default: '15m', description: '' },
    { key: 'session.maximum', required: false, default: '8h', description: '' },
    { key: 'proxies', required: false, default: '[]', description: '' },
    { key: 'hosts', required: false, default: undefined, description: '' },
    { key: 'hosts[].id', required: true, default: undefined, description: '' },
    { key: 'hosts[].labels', required: false, default: undefined, description: '' },
  ]);
});

test('formatDuration says what duration reads', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 999_999_999 }), (ms) => {
      expect(duration.parse(formatDuration(ms))).toBe(ms);
    }),
  );
});
