import {
  CHECKPOINT_TYPE,
  type Checkpoint,
  formatCheckpoint,
  parseCheckpoint,
} from '@beacon/protocol/checkpoint';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { refusalOf } from './refusal.ts';

const zeros = '0'.repeat(64);
const checkpoint: Checkpoint = {
  chain: 'ca',
  seq: 3,
  hash: '012dcef143806eba2127cb943630a17f5b7fd20439fd0a1217de242110cc7923',
  time: '2026-01-02T03:04:06.001Z',
  heads: { broker: { seq: 0, hash: zeros }, 'host/build-01': { seq: 7, hash: 'ab'.repeat(32) } },
};

const text =
  '{"v":1,"chain":"ca","seq":3,"hash":"012dcef143806eba2127cb943630a17f5b7fd20439fd0a1217de242110cc7923",' +
  `"time":"2026-01-02T03:04:06.001Z","heads":{"broker":{"seq":0,"hash":"${zeros}"},` +
  `"host/build-01":{"seq":7,"hash":"${'ab'.repeat(32)}"}}}`;

const head = fc.record({ seq: fc.maxSafeNat(), hash: fc.stringMatching(/^[0-9a-f]{64}$/) });

describe('a checkpoint', () => {
  it('has the text that was written by hand', () => {
    expect(CHECKPOINT_TYPE).toBe('beacon-checkpoint+jwt');
    expect(formatCheckpoint(checkpoint)).toBe(text);
    expect(parseCheckpoint(text)).toStrictEqual(checkpoint);
  });

  it('reads back as it was written', () => {
    const heads = fc.dictionary(
      fc.string({ unit: 'grapheme' }).filter((name) => name !== '__proto__'),
      head,
      { noNullPrototype: true },
    );
    fc.assert(
      fc.property(head, heads, (own, heads) => {
        const any = { ...checkpoint, ...own, heads };
        expect(parseCheckpoint(formatCheckpoint(any))).toEqual(any);
      }),
    );
  });

  it('is refused at every length short of its own, and gives nothing but a ProtocolError for flipped bits', () => {
    for (let length = 0; length < text.length; length++)
      expect(refusalOf(() => parseCheckpoint(text.slice(0, length)))).toBe('json-syntax');
    for (let bit = 0; bit < text.length * 8; bit++) {
      const flipped = Buffer.from(text);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      refusalOf(() => expect(parseCheckpoint(flipped.toString('latin1'))).not.toEqual(checkpoint));
    }
  });

  const value = JSON.parse(text) as Record<string, unknown>;
  const changes: [string, Record<string, unknown>][] = [
    ['an unknown key', { extra: 1 }],
    ['version 2', { v: 2 }],
    ['no version', { v: undefined }],
    ['no chain', { chain: undefined }],
    ['an empty chain', { chain: '' }],
    ['a negative seq', { seq: -1 }],
    ['a text for seq', { seq: '3' }],
    ['no hash', { hash: undefined }],
    ['an upper-case hash', { hash: 'AB'.repeat(32) }],
    ['a short hash', { hash: 'ab'.repeat(31) }],
    ['no time', { time: undefined }],
    ['a time that is none', { time: 'yesterday' }],
    ['a time in a zone', { time: '2026-01-02T03:04:06.001+01:00' }],
    ['no heads', { heads: undefined }],
    ['heads of null', { heads: null }],
    ['heads in an array', { heads: [] }],
    ['a head of null', { heads: { broker: null } }],
    ['a head of text', { heads: { broker: zeros } }],
    ['a head in an array', { heads: { broker: [0, zeros] } }],
    ['a head without a hash', { heads: { broker: { seq: 1 } } }],
    ['a head with more', { heads: { broker: { seq: 1, hash: zeros, extra: 1 } } }],
    ['a head with another key', { heads: { broker: { seq: 1, sha: zeros } } }],
    ['a head with a negative seq', { heads: { broker: { seq: -1, hash: zeros } } }],
  ];
  for (const [what, change] of changes) {
    it(`is refused with ${what}`, () => {
      expect(refusalOf(() => parseCheckpoint(JSON.stringify({ ...value, ...change })))).toBe(
        'checkpoint-malformed',
      );
    });
  }

  it('is refused when it is none of an object, or not strict JSON', () => {
    for (const other of ['null', '[]', '1', '""'])
      expect(refusalOf(() => parseCheckpoint(other))).toBe('checkpoint-malformed');
    expect(refusalOf(() => parseCheckpoint(text.replace('"seq":3', '"seq":3.0')))).toBe('json-number');
    expect(refusalOf(() => parseCheckpoint(text.replace('"broker"', '"host/build-01"')))).toBe(
      'json-doubled-key',
    );
  });
});
