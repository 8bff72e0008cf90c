import { createHash } from 'node:crypto';
import {
  FIRST_PREVIOUS,
  formatRecord,
  hashRecord,
  parseRecord,
  type RecordFields,
} from '@beacon/protocol/record';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { refusalOf } from './refusal.ts';

const zeros = '0000000000000000000000000000000000000000000000000000000000000000';

/** Three records of one chain, their lines and hashes written down by hand. */
const chain: { fields: RecordFields; line: string; hash: string }[] = [
  {
    fields: { chain: 'ca', seq: 1, time: new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 678)), kind: 'start' },
    line: `{"v":1,"chain":"ca","seq":1,"time":"2026-01-02T03:04:05.678Z","kind":"start","prev":"${zeros}"}`,
    hash: '6190b6ce60c0d24be60487ce9b29db52fbbf234a979575b990fcab93e8e040e2',
  },
  {
    fields: {
      chain: 'ca',
      seq: 2,
      time: new Date(Date.UTC(2026, 0, 2, 3, 4, 6)),
      kind: 'certificate',
      person: 'github:583231',
      service: 'portal',
      host: 'build-01',
      grant: '01hzzzzzzz0123456789abcdef',
      facts: { serial: '18446744073709551615' },
    },
    line:
      '{"v":1,"chain":"ca","seq":2,"time":"2026-01-02T03:04:06.000Z","kind":"certificate","person":"github:583231",' +
      '"service":"portal","host":"build-01","grant":"01hzzzzzzz0123456789abcdef",' +
      '"facts":{"serial":"18446744073709551615"},' +
      '"prev":"6190b6ce60c0d24be60487ce9b29db52fbbf234a979575b990fcab93e8e040e2"}',
    hash: '2f58a5d455fda725c859c8acb430fde76b211974cd491019eb85c6e8c25c2124',
  },
  {
    fields: {
      chain: 'ca',
      seq: 3,
      time: new Date(Date.UTC(2026, 0, 2, 3, 4, 6, 1)),
      kind: 'denied',
      person: 'github:1',
    },
    line:
      '{"v":1,"chain":"ca","seq":3,"time":"2026-01-02T03:04:06.001Z","kind":"denied","person":"github:1",' +
      '"prev":"2f58a5d455fda725c859c8acb430fde76b211974cd491019eb85c6e8c25c2124"}',
    hash: '012dcef143806eba2127cb943630a17f5b7fd20439fd0a1217de242110cc7923',
  },
];

describe('a chain of records', () => {
  it('L11: has the lines and hashes that were written down by hand', () => {
    let prev = FIRST_PREVIOUS;
    for (const { fields, line, hash } of chain) {
      expect(formatRecord(fields, prev)).toBe(line);
      expect(hashRecord(line)).toBe(hash);
      expect(hashRecord(Buffer.from(line))).toBe(hash);
      expect(parseRecord(line)).toStrictEqual({ ...fields, prev });
      prev = hash;
    }
  });

  it('L11: hashes a tag, a NUL and the bytes of the line, so a hash of the line alone is another', () => {
    for (const { line, hash } of chain) {
      expect(
        createHash('sha256').update('beacon-record-1').update(Buffer.of(0)).update(line).digest('hex'),
      ).toBe(hash);
      expect(createHash('sha256').update(line).digest('hex')).not.toBe(hash);
    }
  });

  it('L11: has another hash for a line that says the same in other bytes', () => {
    const line = chain[1]?.line ?? '';
    const spellings = [
      line,
      `${line}\n`,
      ` ${line}`,
      line.replace('portal', '\\u0070ortal'),
      line.replace('"v":1', '"v": 1'),
      line.replace('portal', 'portàl'),
      line.replace('portal', 'porta\u0300l'),
    ];
    expect(new Set(spellings.map((text) => hashRecord(text))).size).toBe(spellings.length);
  });

  it('begins with 64 zeros', () => {
    expect(FIRST_PREVIOUS).toBe(zeros);
  });
});

describe('a record', () => {
  const anyFields: fc.Arbitrary<RecordFields> = fc.record(
    {
      chain: fc.string({ unit: 'grapheme', minLength: 1 }),
      seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
      time: fc.date({ min: new Date(0), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true }),
      kind: fc.stringMatching(/^[a-z][a-z0-9-]{0,63}$/),
      person: fc.string({ unit: 'grapheme' }),
      service: fc.string({ unit: 'grapheme' }),
      host: fc.string({ unit: 'grapheme' }),
      grant: fc.string({ unit: 'grapheme' }),
      facts: fc.dictionary(
        fc.string().filter((key) => key !== '__proto__'),
        fc.oneof(fc.string({ unit: 'grapheme' }), fc.integer(), fc.boolean(), fc.constant(null)),
        { noNullPrototype: true },
      ),
    },
    { requiredKeys: ['chain', 'seq', 'time', 'kind'] },
  );
  const hash = fc.stringMatching(/^[0-9a-f]{64}$/);

  it('is one line that reads back as it was written', () => {
    fc.assert(
      fc.property(anyFields, hash, (fields, prev) => {
        const line = formatRecord(fields, prev);
        expect(line).not.toMatch(/[\n\r]/);
        expect(parseRecord(line)).toStrictEqual({ ...fields, prev });
      }),
    );
  });

  it('is refused, or says something else, when any bit of its line is flipped; its hash differs in any case', () => {
    for (const { line, hash } of chain) {
      for (let bit = 0; bit < line.length * 8; bit++) {
        const flipped = Buffer.from(line);
        flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        refusalOf(() => parseRecord(flipped.toString('latin1')));
        expect(hashRecord(flipped)).not.toBe(hash);
      }
    }
  });

  it('is refused at every length short of its own', () => {
    const line = chain[1]?.line ?? '';
    for (let length = 0; length < line.length; length++)
      expect(refusalOf(() => parseRecord(line.slice(0, length)))).toBe('json-syntax');
  });

  const value = JSON.parse(chain[1]?.line ?? '') as Record<string, unknown>;
  const changes: [string, Record<string, unknown>][] = [
    ['an unknown key', { extra: 1 }],
    ['version 2', { v: 2 }],
    ['no version', { v: undefined }],
    ['no chain', { chain: undefined }],
    ['an empty chain', { chain: '' }],
    ['seq 0', { seq: 0 }],
    ['a negative seq', { seq: -1 }],
    ['a text for seq', { seq: '1' }],
    ['no time', { time: undefined }],
    ['a time without milliseconds', { time: '2026-01-02T03:04:05Z' }],
    ['a time in a zone', { time: '2026-01-02T03:04:05.678+00:00' }],
    ['a time with a space', { time: '2026-01-02 03:04:05.678Z' }],
    ['a 13th month', { time: '2026-13-02T03:04:05.678Z' }],
    ['a 30th of February', { time: '2024-02-30T03:04:05.678Z' }],
    ['an hour 24', { time: '2026-01-02T24:00:00.000Z' }],
    ['a leap second', { time: '2016-12-31T23:59:60.000Z' }],
    ['Arabic digits in its time', { time: '٢٠٢٦-01-02T03:04:05.678Z' }],
    ['a number for its time', { time: 1767323045678 }],
    ['no kind', { kind: undefined }],
    ['an upper-case kind', { kind: 'Start' }],
    ['a kind of two words', { kind: 'a b' }],
    ['a kind of 65 characters', { kind: 'a'.repeat(65) }],
    ['no prev', { prev: undefined }],
    ['an upper-case prev', { prev: 'A'.repeat(64) }],
    ['a prev of 63 digits', { prev: '0'.repeat(63) }],
    ['a prev with a newline', { prev: `${zeros}\n` }],
    ['null for a person', { person: null }],
    ['a number for a service', { service: 1 }],
    ['an array for a host', { host: ['build-01'] }],
    ['an object for a grant', { grant: {} }],
    ['facts of null', { facts: null }],
    ['facts in an array', { facts: [] }],
    ['facts of text', { facts: 'x' }],
  ];
  for (const [what, change] of changes) {
    it(`is refused with ${what}`, () => {
      expect(refusalOf(() => parseRecord(JSON.stringify({ ...value, ...change })))).toBe('record-malformed');
    });
  }

  it('is refused when its line is none of an object, or not strict JSON', () => {
    for (const line of ['null', '[]', '1', '""']) {
      expect(refusalOf(() => parseRecord(line))).toBe('record-malformed');
    }
    expect(refusalOf(() => parseRecord('{"v":1,"v":1}'))).toBe('json-doubled-key');
    expect(refusalOf(() => parseRecord('{"v":1.0}'))).toBe('json-number');
  });

  it('is not written with what could not be read', () => {
    const fields = chain[0]?.fields;
    if (fields === undefined) throw new Error('the chain has three records');
    const write = (change: Partial<RecordFields>, prev = zeros) =>
      refusalOf(() => formatRecord({ ...fields, ...change }, prev));
    expect(write({})).toBe('accepted');
    expect(write({ seq: 0 })).toBe('record-malformed');
    expect(write({ chain: '' })).toBe('record-malformed');
    expect(write({ kind: 'Start' })).toBe('record-malformed');
    expect(write({ time: new Date(Number.NaN) })).toBe('record-malformed');
    expect(write({ time: new Date(8.64e15) })).toBe('record-malformed');
    expect(write({}, 'x')).toBe('record-malformed');
    expect(write({ facts: { load: 0.5 } })).toBe('json-number');
    expect(write({ facts: { name: '\ud800' } })).toBe('json-surrogate');
    expect(write({ facts: JSON.parse('{"__proto__":1}') as { [key: string]: number } })).toBe('json-syntax');
  });
});
