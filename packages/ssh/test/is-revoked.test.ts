import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isRevoked } from '../src/is-revoked.ts';
import { decodeKrl, encodeKrl, type KrlContent } from '../src/krl.ts';
import type { SerialRange } from '../src/krl-serials.ts';
import { fingerprint } from '../src/public-key.ts';
import { LAB_KEY_IDS, LAB_SERIALS, RevocationLab } from './revocation-lab.ts';

const CASES = 60;
let lab: RevocationLab;
beforeAll(() => {
  lab = new RevocationLab();
});
afterAll(() => lab.close());

const near = fc
  .tuple(fc.constantFrom(...LAB_SERIALS), fc.integer({ min: -2, max: 2 }))
  .map(([serial, distance]) => serial + BigInt(distance))
  .filter((serial) => serial > 0n && serial < 2n ** 64n);
const range: fc.Arbitrary<SerialRange> = fc
  .tuple(near, near)
  .map(([a, b]) => (a < b ? { first: a, last: b } : { first: b, last: a }))
  .filter(({ first, last }) => first < 100_000n || last - first < 1000n || last - first > 2n ** 30n);
const scattered = fc.bigInt({ min: 1n, max: 40_000n });
const serials = fc.array(fc.oneof({ weight: 3, arbitrary: near }, scattered, range), { maxLength: 12 });
const keyIds = fc.array(fc.oneof(fc.constantFrom(...LAB_KEY_IDS), fc.constant('nobody')), { maxLength: 2 });
/** Numbers stand for the laboratory's CAs (2: every CA) and, for keys, its keys and then its CAs. */
const list = fc.record({
  authorities: fc.uniqueArray(fc.record({ ca: fc.nat(2), serials, keyIds }), {
    selector: ({ ca }) => ca,
    maxLength: 3,
  }),
  keys: fc.oneof(
    { weight: 3, arbitrary: fc.constant<number[]>([]) },
    fc.uniqueArray(fc.nat(5), { maxLength: 2 }),
  ),
  fingerprints: fc.oneof(
    { weight: 3, arbitrary: fc.constant<number[]>([]) },
    fc.uniqueArray(fc.nat(5), { maxLength: 2 }),
  ),
});
type List = typeof list extends fc.Arbitrary<infer T> ? T : never;

function keyAt(index: number) {
  const found = [...lab.keys, ...lab.authorities][index];
  if (found === undefined) {
    throw new Error('the laboratory has no such key');
  }
  return found;
}

function contentOf(plan: List): KrlContent {
  return {
    version: 3n,
    generated: new Date('2026-11-22T08:00:00Z'),
    comment: 'generated',
    authorities: plan.authorities.map(({ ca, ...rest }) => ({
      ca: lab.authorities[ca]?.key ?? null,
      ...rest,
    })),
    keys: plan.keys.map((index) => keyAt(index).key),
    fingerprints: plan.fingerprints.map((index) => fingerprint(keyAt(index).key)),
  };
}

/** ssh-keygen refuses a range of one. */
function formatSerial(entry: bigint | SerialRange): string {
  const { first, last } = typeof entry === 'bigint' ? { first: entry, last: entry } : entry;
  return `serial: ${first === last ? first : `${first}-${last}`}`;
}

function specificationOf(plan: List): { ca: string; specification: string }[] {
  const authorities = plan.authorities.map(({ ca, serials: numbers, keyIds: ids }) => ({
    ca: lab.authorities[ca]?.file ?? 'NONE',
    specification: [...numbers.map((entry) => formatSerial(entry)), ...ids.map((id) => `id: ${id}`), ''].join(
      '\n',
    ),
  }));
  const line = (index: number): string => readFileSync(keyAt(index).file, 'utf8').trim();
  const specification = [
    ...plan.keys.map((index) => `key: ${line(index)}`),
    ...plan.fingerprints.map((index) => `${index % 2 === 0 ? 'sha256' : 'sha1'}: ${line(index)}`),
    '',
  ].join('\n');
  return [...authorities, { ca: 'NONE', specification }];
}

const ours = (blob: Buffer): boolean[] => {
  const krl = decodeKrl(blob);
  return lab.targets().map((target) => isRevoked(krl, target));
};

describe('isRevoked', () => {
  test('K5: lists that we write get the same verdicts from ssh-keygen', () => {
    let revoked = 0;
    for (const plan of fc.sample(list, { numRuns: CASES, seed: 20_261 })) {
      const blob = encodeKrl(contentOf(plan));
      const verdicts = lab.verdicts(blob);
      expect(verdicts).toEqual(ours(blob));
      revoked += verdicts?.filter(Boolean).length ?? 0;
    }
    expect(revoked).toBeGreaterThan(CASES);
  });

  test('K5: lists that ssh-keygen writes get the same verdicts from us', () => {
    let revoked = 0;
    for (const plan of fc.sample(list, { numRuns: CASES, seed: 20_262 })) {
      const blob = lab.write(specificationOf(plan));
      const verdicts = lab.verdicts(blob);
      expect(verdicts).toEqual(ours(blob));
      expect(decodeKrl(blob)).toMatchObject({ version: 7n, sealed: false });
      revoked += verdicts?.filter(Boolean).length ?? 0;
    }
    expect(revoked).toBeGreaterThan(CASES);
  });

  test('K5: revokes a certificate named as a whole by ssh-keygen -k', () => {
    const [first, second] = lab.certificates.slice(2);
    const specification = [first, second]
      .map((entry) => readFileSync(entry?.file ?? '', 'utf8').trim())
      .join('\n');
    const blob = lab.write([{ ca: 'NONE', specification: `${specification}\n` }]);
    expect(lab.verdicts(blob)).toEqual(ours(blob));
    expect(ours(blob).filter(Boolean)).toHaveLength(2);
  });

  test('K5: a serial of one CA revokes nothing of another, and every serial of a revoked CA is revoked', () => {
    const [caA, caB] = lab.authorities;
    const base = { version: 1n, generated: new Date(0), comment: '' };
    const one = encodeKrl({ ...base, authorities: [{ ca: caA?.key ?? null, serials: [5n], keyIds: [] }] });
    const whole = encodeKrl({ ...base, authorities: [], keys: caB === undefined ? [] : [caB.key] });
    const count = (blob: Buffer): number => ours(blob).filter(Boolean).length;
    expect(count(one)).toBe(1);
    expect(count(whole)).toBe(LAB_SERIALS.length + 1);
    expect(lab.verdicts(one)).toEqual(ours(one));
    expect(lab.verdicts(whole)).toEqual(ours(whole));
  });

  test('agrees with ssh-keygen at every length of a cut list and after every flipped bit that we accept', () => {
    const blob = encodeKrl({
      version: 2n,
      generated: new Date('2026-11-22T08:00:00Z'),
      comment: '',
      authorities: [{ ca: null, serials: [5n, 6n, 64n], keyIds: ['alice'] }],
    });
    const attempt = (bytes: Buffer): boolean[] | undefined => {
      try {
        return ours(bytes);
      } catch {
        return undefined;
      }
    };
    for (let length = 0; length < blob.length; length++) {
      const cut = blob.subarray(0, length);
      // Without a magic ssh-keygen takes a file for a list of keys; sshd then refuses all, or for blank files nothing.
      expect({ length, verdicts: attempt(cut) }).toEqual({
        length,
        verdicts: length < 8 ? undefined : lab.verdicts(cut),
      });
    }
    for (let bit = 0; bit < blob.length * 8; bit++) {
      const flipped = Buffer.from(blob);
      flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      const verdicts = attempt(flipped);
      if (verdicts !== undefined && bit % 7 === 0) {
        expect({ bit, verdicts }).toEqual({ bit, verdicts: lab.verdicts(flipped) });
      }
    }
  });
});
