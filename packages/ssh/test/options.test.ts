import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  type CriticalOptions,
  decodeOptions,
  type Extensions,
  encodeOptions,
  hasFlag,
  MAX_GRANT_BYTES,
  optionText,
} from '../src/options.ts';
import { codeOf, inner, rawOptions } from './raw-certificate.ts';

describe('options', () => {
  test('are encoded sorted by bytes, whatever order they are given in, and decoded again', () => {
    const flags = [
      'no-touch-required',
      'permit-X11-forwarding',
      'permit-agent-forwarding',
      'permit-pty',
      'permit-user-rc',
    ];
    fc.assert(
      fc.property(
        fc.shuffledSubarray(flags),
        fc.option(fc.string({ minLength: 1, maxLength: 100 })),
        (names, grant) => {
          const isText = grant !== null && !grant.includes('\0');
          const values: Extensions = Object.fromEntries([
            ...names.map((name) => [name, true]),
            ...(isText ? [['grant@beacon', grant]] : []),
          ]);
          const bytes = encodeOptions('extension', values);
          const options = decodeOptions('extension', bytes);
          expect(options.map(({ name }) => name)).toEqual([...Object.keys(values)].sort());
          expect(names.every((name) => hasFlag(options, name))).toBe(true);
          expect(optionText(options, 'grant@beacon')).toBe(isText ? grant : undefined);
        },
      ),
    );
  });

  test('C1: an extension named force-command or source-address is not encoded, nor a critical permit-pty', async () => {
    const misplaced = { 'force-command': 'id' } as Extensions;
    expect(await codeOf(() => encodeOptions('extension', misplaced))).toBe('option-wrong-kind');
    expect(await codeOf(() => encodeOptions('extension', { 'source-address': '::/0' } as Extensions))).toBe(
      'option-wrong-kind',
    );
    expect(await codeOf(() => encodeOptions('critical', { 'permit-pty': true } as CriticalOptions))).toBe(
      'option-wrong-kind',
    );
    expect(await codeOf(() => encodeOptions('critical', { colour: 'green' } as CriticalOptions))).toBe(
      'option-unknown',
    );
  });

  test('C2: a flag with data and a text without text are not encoded', async () => {
    for (const value of ['', 'yes', false, 1, null]) {
      const values = { 'permit-pty': value } as unknown as Extensions;
      expect(await codeOf(() => encodeOptions('extension', values))).toBe('option-malformed');
    }
    for (const value of ['', 'a\0b', '\ud800', true]) {
      const values = { 'force-command': value } as unknown as CriticalOptions;
      expect(await codeOf(() => encodeOptions('critical', values))).toBe('option-malformed');
    }
    for (const value of ['localhost', '192.0.2.1/24', '!192.0.2.1']) {
      expect(await codeOf(() => encodeOptions('critical', { 'source-address': value }))).toBe(
        'option-malformed',
      );
    }
  });

  test.each([
    ['C2', 'a flag with data', 'option-malformed', rawOptions(['permit-pty', 'yes'])],
    [
      'C2',
      'a text with something behind its string',
      'wire-trailing',
      rawOptions(['grant@beacon', Buffer.concat([inner('a'), Buffer.alloc(1)])]),
    ],
    ['C2', 'a text without its string', 'wire-truncated', rawOptions(['grant@beacon', 'ab'])],
    ['C2', 'a text that is empty data', 'wire-truncated', rawOptions(['grant@beacon', ''])],
    ['C3', 'a name twice', 'option-duplicate', rawOptions(['permit-pty', ''], ['permit-pty', ''])],
    ['C3', 'names out of order', 'options-unsorted', rawOptions(['permit-user-rc', ''], ['permit-pty', ''])],
    [
      'C3',
      'foreign names out of order',
      'options-unsorted',
      rawOptions(['b@example.com', ''], ['a@example.com', '']),
    ],
    [
      'C6',
      'a grant of more than 8 KiB',
      'option-too-long',
      rawOptions(['grant@beacon', inner('x'.repeat(MAX_GRANT_BYTES + 1))]),
    ],
    [
      'C6',
      'a grant that is not UTF-8',
      'wire-malformed',
      rawOptions(['grant@beacon', Buffer.from('00000001ff', 'hex')]),
    ],
  ])('%s: refuses %s', async (_, __, code, bytes) => {
    expect(await codeOf(() => decodeOptions('extension', bytes))).toBe(code);
  });

  test('C2: refuses two force-commands and one without its inner string', async () => {
    const twice = rawOptions(['force-command', inner('a')], ['force-command', inner('b')]);
    expect(await codeOf(() => decodeOptions('critical', twice))).toBe('option-duplicate');
    expect(await codeOf(() => decodeOptions('critical', rawOptions(['force-command', 'id'])))).toBe(
      'wire-truncated',
    );
  });

  test('C6: takes a grant of exactly 8 KiB both ways and refuses to write one more byte', async () => {
    const grant = 'x'.repeat(MAX_GRANT_BYTES);
    const bytes = encodeOptions('extension', { 'grant@beacon': grant });
    expect(optionText(decodeOptions('extension', bytes), 'grant@beacon')).toBe(grant);
    expect(await codeOf(() => encodeOptions('extension', { 'grant@beacon': `${grant}x` }))).toBe(
      'option-too-long',
    );
  });

  test('keeps an option that is not in the table as its bytes', () => {
    const [option] = decodeOptions('critical', rawOptions(['colour@example.com', Buffer.from([0, 1])]));
    expect(option).toEqual({ name: 'colour@example.com', form: 'unknown', data: Buffer.from([0, 1]) });
    expect(decodeOptions('extension', rawOptions(['force-command', inner('id')]))[0]?.form).toBe('unknown');
  });
});
