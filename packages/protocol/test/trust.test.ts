import {
  formatHostIdentity,
  formatTrustRoot,
  formatTrustStatus,
  parseHostIdentity,
  parseTrustRoot,
  parseTrustStatus,
  type TrustRoot,
  type TrustStatus,
} from '@beacon/protocol/trust';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { refusalOf } from './refusal.ts';

const key = `ssh-ed25519 ${Buffer.alloc(51, 7).toString('base64')}`;
const root: TrustRoot = {
  version: 3,
  issued: new Date('2026-01-01T00:00:00.000Z'),
  expires: new Date('2027-01-01T00:00:00.000Z'),
  hosts: '[a-z]+-[0-9]+',
  logins: ['beacon'],
  userCa: [key],
  hostCa: [],
  statusKey: key,
};
const status: TrustStatus = {
  version: 9,
  rootVersion: 3,
  issued: new Date('2026-11-22T00:00:00.000Z'),
  expires: new Date('2026-11-23T00:00:00.000Z'),
  krl: { sha256: 'a'.repeat(64), bytes: 129 },
  halt: ['01hzzzzzzz0123456789abcdef'],
};
const identity = { host: 'build-01', login: 'beacon', rootKey: key };

const documents = [
  ['root', formatTrustRoot(root), parseTrustRoot, root],
  ['status', formatTrustStatus(status), parseTrustStatus, status],
  ['identity', formatHostIdentity(identity), parseHostIdentity, identity],
] as const;

describe.each(documents)('the document %s', (name, text, parse, value) => {
  it('has one text, which a shell script may look into', () => {
    expect(parse(Buffer.from(text))).toEqual(value);
    expect(text.endsWith('}\n')).toBe(true);
    if (name === 'identity')
      expect(text).toBe(`{"v":1,"host":"build-01","login":"beacon","root_key":"${key}"}\n`);
    if (name === 'status') {
      expect(text).toContain('"expires":"2026-11-23T00:00:00.000Z"');
      expect(text).toContain(`"krl":{"sha256":"${'a'.repeat(64)}","bytes":129}`);
    }
  });

  it('B7: is refused at every length short of its own, and longer than its bound', () => {
    const cut = (length: number) => refusalOf(() => parse(Buffer.from(text).subarray(0, length)));
    // Without its newline it is the same JSON, and another document.
    for (let length = 0; length < text.length - 1; length++) expect(cut(length)).toBe('json-syntax');
    expect(refusalOf(() => parse(Buffer.alloc(65_537, ' ')))).toMatch(/-malformed$/);
  });

  it('is refused, or says something else, when any bit of it is flipped', () => {
    const bytes = Buffer.from(text);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const outcome = refusalOf(() => expect(parse(changed)).not.toEqual(value));
      expect(outcome).toMatch(/^(accepted|json-[a-z-]+|(host-identity|trust-(root|status))-malformed)$/);
    }
  });
});

describe('a trust document', () => {
  it('B12: in another spelling is refused', () => {
    for (const [, text, parse] of documents.slice(0, 2)) {
      const parsed = JSON.parse(text) as Record<string, unknown>;
      const others = [
        text.trimEnd(),
        `${text}\n`,
        ` ${text}`,
        `${JSON.stringify(Object.fromEntries(Object.entries(parsed).reverse()))}\n`,
        `${JSON.stringify(parsed, null, 1)}\n`,
        text.replace('"v":1', '"v":1,"more":1'),
        text.replace('trust-', 'trust\\u002d'),
      ];
      for (const other of others) expect(refusalOf(() => parse(Buffer.from(other)))).toMatch(/-malformed$/);
    }
  });

  it('of the other kind is refused', () => {
    expect(refusalOf(() => parseTrustRoot(Buffer.from(formatTrustStatus(status))))).toBe(
      'trust-root-malformed',
    );
    expect(refusalOf(() => parseTrustStatus(Buffer.from(formatTrustRoot(root))))).toBe(
      'trust-status-malformed',
    );
  });

  it.each([
    ['version 0', { version: 0 }],
    ['an end before its beginning', { expires: root.issued }],
    ['a pattern that is none', { hosts: '(' }],
    ['a login that is none', { logins: ['Root'] }],
    ['a key with a comment', { statusKey: `${key} me` }],
    ['a key twice', { userCa: [key, key] }],
  ])('a root with %s is neither written nor read', (_, change) => {
    expect(refusalOf(() => formatTrustRoot({ ...root, ...change }))).toBe('trust-root-malformed');
  });

  it.each([
    ['an empty list', { krl: { sha256: 'a'.repeat(64), bytes: 0 } }],
    ['a digest in upper case', { krl: { sha256: 'A'.repeat(64), bytes: 1 } }],
    ['a grant that is no id', { halt: ['all'] }],
    ['version 2^63', { version: 2 ** 63 }],
  ])('a status with %s is neither written nor read', (_, change) => {
    expect(refusalOf(() => formatTrustStatus({ ...status, ...change }))).toMatch(
      /^(trust-status-malformed|json-number)$/,
    );
  });

  it('reads back as it was written, whatever it says', () => {
    const date = fc.integer({ min: 0, max: 4e12 });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 40 }),
        date,
        fc.integer({ min: 1, max: 1e12 }),
        (version, from, life) => {
          const any = { ...status, version, issued: new Date(from), expires: new Date(from + life) };
          expect(parseTrustStatus(Buffer.from(formatTrustStatus(any)))).toEqual(any);
        },
      ),
    );
  });
});
