import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SshError } from '../src/error.ts';
import { decodeKrl, encodeKrl, type Krl, type KrlContent } from '../src/krl.ts';
import { fingerprint, type PublicKey, publicKeyFromKeyObject } from '../src/public-key.ts';
import { Writer } from '../src/wire.ts';

const newKey = (): PublicKey => publicKeyFromKeyObject(generateKeyPairSync('ed25519').publicKey);
const ca = newKey();
const otherCa = newKey();
const key = newKey();

const base = { version: 9n, generated: new Date('2026-11-22T08:00:00Z'), comment: 'beacon' };
const example: KrlContent = {
  ...base,
  authorities: [
    { ca, serials: [1n, 2n, 3n, 900n, { first: 5000n, last: 90_000n }], keyIds: ['beacon/1/github:7', 'b'] },
    { ca: null, serials: [], keyIds: ['everywhere'] },
  ],
  keys: [key, otherCa],
  fingerprints: [fingerprint(ca)],
};

const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof SshError) {
      return error.code;
    }
    throw error;
  }
  return 'none';
};
const decoding = (blob: Buffer): string => codeOf(() => decodeKrl(blob));
const timeOf = (blob: Buffer): number => {
  const start = performance.now();
  decoding(blob);
  return performance.now() - start;
};
const header = (
  fields: { format?: number; flags?: bigint; reserved?: string; seconds?: bigint } = {},
): Writer =>
  new Writer()
    .raw(Buffer.from('SSHKRL\n\0'))
    .uint32(fields.format ?? 1)
    .uint64(1n)
    .uint64(fields.seconds ?? 1n)
    .uint64(fields.flags ?? 0n)
    .string(fields.reserved ?? '')
    .string('');
const withSection = (type: number, data: Buffer): Buffer => header().uint8(type).string(data).toBuffer();
const withCertificateSection = (type: number, data: Buffer, reserved = ''): Buffer =>
  withSection(1, new Writer().string(ca.blob).string(reserved).uint8(type).string(data).toBuffer());
const extension = (critical: boolean): Buffer =>
  new Writer().string('name@example.org').boolean(critical).string('').toBuffer();

describe('encodeKrl and decodeKrl', () => {
  test('reads what it writes, sorted and joined', () => {
    expect(decodeKrl(encodeKrl(example))).toEqual({
      ...base,
      authorities: [
        {
          ca,
          serials: [
            { first: 1n, last: 3n },
            { first: 900n, last: 900n },
            { first: 5000n, last: 90_000n },
          ],
          keyIds: ['b', 'beacon/1/github:7'],
        },
        { ca: null, serials: [], keyIds: ['everywhere'] },
      ],
      keys: [key, otherCa].sort((a, b) => a.blob.compare(b.blob)),
      fingerprints: [fingerprint(ca)],
      sealed: true,
    } satisfies Krl);
  });

  test('what was read can be written again, byte for byte', () => {
    const blob = encodeKrl(example);
    expect(encodeKrl(decodeKrl(blob)).equals(blob)).toBe(true);
  });

  test('a list that revokes nothing has a header and the seal', () => {
    const blob = encodeKrl({ ...base, comment: '', authorities: [{ ca, serials: [], keyIds: [] }] });
    expect(blob).toHaveLength(44 + 41);
    expect(decodeKrl(blob)).toMatchObject({ authorities: [], keys: [], fingerprints: [], sealed: true });
  });

  test('decode ∘ encode is the identity on generated lists', () => {
    const serial = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n });
    const small = fc.bigInt({ min: 1n, max: 5000n });
    const authority = fc.record({
      ca: fc.constantFrom(ca, otherCa, null),
      serials: fc.array(fc.oneof(serial, small), { maxLength: 200 }),
      keyIds: fc.array(
        fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0')),
        { maxLength: 5 },
      ),
    });
    const content = fc.record({
      version: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      generated: fc.integer({ min: 0, max: 8_640_000_000_000 }).map((seconds) => new Date(seconds * 1000)),
      comment: fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0')),
      authorities: fc.uniqueArray(authority, { selector: (entry) => entry.ca, maxLength: 3 }),
      keys: fc.uniqueArray(fc.constantFrom(key, ca)),
      fingerprints: fc.uniqueArray(fc.constantFrom(key, ca, otherCa).map(fingerprint)),
    });
    fc.assert(
      fc.property(content, (generated) => {
        const read = decodeKrl(encodeKrl(generated));
        expect(read).toMatchObject({
          version: generated.version,
          generated: generated.generated,
          sealed: true,
        });
        for (const { ca: scope, serials, keyIds } of generated.authorities) {
          const found = read.authorities.find(
            (entry) => entry.ca?.blob.toString('hex') === scope?.blob.toString('hex'),
          );
          const members = (found?.serials ?? []).flatMap(({ first, last }) =>
            Array.from({ length: Number(last - first) + 1 }, (_, index) => first + BigInt(index)),
          );
          expect(new Set(members)).toEqual(new Set(serials));
          expect(new Set(found?.keyIds ?? [])).toEqual(new Set(keyIds));
        }
        expect(new Set(read.fingerprints)).toEqual(new Set(generated.fingerprints));
        expect(read.keys).toHaveLength(generated.keys.length);
        expect(encodeKrl(read).equals(encodeKrl(generated))).toBe(true);
      }),
    );
  });

  test('K6: refuses to revoke serial 0, and to read a list that does', () => {
    const writing = (serials: KrlContent['authorities'][number]['serials']): string =>
      codeOf(() => encodeKrl({ ...base, authorities: [{ ca, serials, keyIds: [] }] }));
    expect(writing([0n])).toBe('krl-unencodable');
    expect(writing([2n ** 64n])).toBe('krl-unencodable');
    expect(writing([{ first: 0n, last: 4n }])).toBe('krl-unencodable');
    expect(writing([{ first: 4n, last: 3n }])).toBe('krl-unencodable');
    expect(decoding(withCertificateSection(0x20, Buffer.alloc(8)))).toBe('krl-malformed');
    expect(decoding(withCertificateSection(0x21, new Writer().uint64(0n).uint64(4n).toBuffer()))).toBe(
      'krl-malformed',
    );
  });

  test('refuses to write a text with NUL or half a character, a date before 1970 and a foreign fingerprint', () => {
    const writing = (changed: Partial<KrlContent>): string =>
      codeOf(() => encodeKrl({ ...base, authorities: [], ...changed }));
    expect(writing({ comment: 'a\0b' })).toBe('krl-unencodable');
    expect(writing({ authorities: [{ ca, serials: [], keyIds: ['\ud800'] }] })).toBe('krl-unencodable');
    expect(writing({ generated: new Date(-1) })).toBe('krl-unencodable');
    expect(writing({ generated: new Date(Number.NaN) })).toBe('krl-unencodable');
    expect(writing({ fingerprints: ['SHA1:AAAA'] })).toBe('krl-unencodable');
    expect(writing({ fingerprints: [`${fingerprint(ca)}=`] })).toBe('krl-unencodable');
    expect(writing({ version: -1n })).toBe('wire-unencodable');
  });

  test('K2: refuses an empty file, a newline, NULs, and sees a cut between sections by the missing seal', () => {
    for (const nothing of [Buffer.alloc(0), Buffer.from('\n'), Buffer.alloc(64)]) {
      expect(decoding(nothing)).toBe('krl-malformed');
    }
    const blob = encodeKrl(example);
    const readable: number[] = [];
    for (let length = 0; length < blob.length; length++) {
      if (decoding(blob.subarray(0, length)) === 'none') {
        expect(decodeKrl(blob.subarray(0, length)).sealed).toBe(false);
        readable.push(length);
      }
    }
    expect(readable).toHaveLength(5);
    expect(readable[0]).toBe(44 + 'beacon'.length);
  });

  test('K3: refuses HTML, base64, a doubled list, and bytes after the end', () => {
    const blob = encodeKrl(example);
    expect(decoding(Buffer.from('<!doctype html>'))).toBe('krl-malformed');
    expect(decoding(Buffer.from(blob.toString('base64')))).toBe('krl-malformed');
    expect(decoding(Buffer.concat([blob, blob]))).toMatch(/^(krl-unsupported|wire-truncated|wire-too-long)$/);
    expect(decoding(Buffer.concat([blob, Buffer.from([0])]))).toMatch(/^wire-/);
    expect(decoding(blob.subarray(0, -1))).toBe('wire-truncated');
  });

  test('every flipped bit is refused or breaks the seal', () => {
    const blob = encodeKrl(example);
    for (let bit = 0; bit < blob.length * 8; bit++) {
      const flipped = Buffer.from(blob);
      flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      if (decoding(flipped) === 'none') {
        expect(decodeKrl(flipped).sealed).toBe(false);
      }
    }
  });

  test('arbitrary bytes after a good header raise nothing but SshError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        decoding(Buffer.concat([header().toBuffer(), bytes]));
      }),
      { numRuns: 2000 },
    );
  });

  test('thirty thousand mutated lists raise nothing but SshError, each within a second', () => {
    const blob = encodeKrl(example);
    const edit = fc.record({
      at: fc.nat(blob.length - 1),
      value: fc.nat(255),
      kind: fc.constantFrom('set', 'cut', 'insert'),
    });
    let slowest = 0;
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        let mutated = blob;
        for (const { at, value, kind } of edits) {
          const insert = kind === 'cut' ? [] : [value];
          mutated = Buffer.concat([
            mutated.subarray(0, at),
            Buffer.from(insert),
            mutated.subarray(kind === 'insert' ? at : at + 1),
          ]);
        }
        // What was slow is timed again, since the machine may have been busy with something else.
        let took = timeOf(mutated);
        for (let again = 0; took >= 1_000 && again < 3; again++) {
          took = timeOf(mutated);
        }
        slowest = Math.max(slowest, took);
      }),
      { numRuns: 30_000 },
    );
    expect(slowest).toBeLessThan(1_000);
  });

  test('refuses another format, flags, reserved bytes, signatures, extensions and unknown sections', () => {
    expect(decoding(header({ format: 2 }).toBuffer())).toBe('krl-unsupported');
    expect(decoding(header({ flags: 1n }).toBuffer())).toBe('krl-unsupported');
    expect(decoding(header({ reserved: 'x' }).toBuffer())).toBe('krl-unsupported');
    expect(decoding(header({ seconds: 2n ** 63n }).toBuffer())).toBe('krl-malformed');
    expect(decoding(withSection(4, ca.blob))).toBe('krl-unsupported');
    expect(decoding(withSection(255, extension(true)))).toBe('krl-unsupported');
    expect(decoding(withSection(255, extension(false)))).toBe('krl-unsupported');
    expect(decoding(withSection(6, Buffer.alloc(4)))).toBe('krl-unsupported');
    expect(decoding(withCertificateSection(0x39, extension(false)))).toBe('krl-unsupported');
    expect(decoding(withCertificateSection(0x24, Buffer.alloc(8)))).toBe('krl-unsupported');
    expect(decoding(withCertificateSection(0x20, new Writer().uint64(1n).toBuffer(), 'x'))).toBe(
      'krl-unsupported',
    );
  });

  test('refuses empty sections, keys it does not know, and fingerprints out of order', () => {
    const string = (...values: (Buffer | string)[]): Buffer =>
      values.reduce((writer, value) => writer.string(value), new Writer()).toBuffer();
    expect(decoding(withSection(1, string(ca.blob, '')))).toBe('wire-truncated');
    expect(decoding(withSection(2, Buffer.alloc(0)))).toBe('wire-truncated');
    expect(decoding(withSection(5, Buffer.alloc(0)))).toBe('wire-truncated');
    expect(decoding(withCertificateSection(0x23, Buffer.alloc(0)))).toBe('wire-truncated');
    expect(decoding(withSection(2, string(string('ssh-dss', 'x'))))).toBe('key-type-unsupported');
    expect(decoding(withSection(5, string(Buffer.alloc(31))))).toBe('krl-malformed');
    expect(decoding(withSection(5, string(Buffer.alloc(32, 2), Buffer.alloc(32, 1))))).toBe('krl-malformed');
    expect(decoding(withSection(5, string(Buffer.alloc(32, 2), Buffer.alloc(32, 2))))).toBe('krl-malformed');
    expect(decoding(withCertificateSection(0x23, string('a\0')))).toBe('wire-malformed');
    expect(decoding(withCertificateSection(0x23, string(Buffer.from([0xff]))))).toBe('wire-malformed');
  });
});
