/** `scripts/crash`: that its judge names what is wrong with a doctored history, and that a real CA under 30 kills shows none. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { type Evidence, judge } from '../crash/judge.ts';
import type { Acknowledged } from '../crash/ledger.ts';

const root = join(import.meta.dirname, '..', '..');
const hash = (seq: number) => String(seq).padStart(64, '0');
const anchor = (seq: number) => ({ seq, hash: hash(seq) });

/** Three certificates, the second revoked, one session ended, one decision, one denial: records 1 to 6. */
const acknowledged: Acknowledged = {
  certificates: [1, 2, 3].map((seq) => ({
    serial: String(seq),
    publicKey: `SHA256:key-${seq}`,
    validBefore: '2030-01-01T00:00:00.000Z',
    record: anchor(seq),
  })),
  revocations: [{ serials: ['2'], record: anchor(4) }],
  sessionEnds: [{ session: 'session-1', record: anchor(5) }],
  decisions: [anchor(6)],
  denials: ['absent-1'],
};

/** A store and a server that forgot nothing of it. */
const honest: Evidence = {
  chain: { ok: true },
  records: new Map([1, 2, 3, 4, 5, 6, 7].map((seq) => [seq, hash(seq)])),
  refusedHosts: new Set(['absent-1']),
  certificates: [1, 2, 3].map((seq) => ({
    serial: String(seq),
    publicKey: `SHA256:key-${seq}`,
    revoked: seq === 2,
    record: anchor(seq),
  })),
  serialBefore: 0n,
  recordedSerials: ['1', '2', '3'],
  revoked: new Set(['2']),
  listed: (serial) => serial === '2',
  endedSessions: new Map([['session-1', 401]]),
  replays: [
    { path: '/v1/certificates', before: 201, status: 401, code: 'proof-replayed' },
    { path: '/v1/certificates', before: 404, status: 404, code: 'host-unknown' },
    { path: '/v1/certificates', before: undefined, status: 201, code: '' },
  ],
};

const [first, second, third] = honest.certificates as [
  Evidence['certificates'][0],
  Evidence['certificates'][0],
  Evidence['certificates'][0],
];

describe('the judge', () => {
  test('finds nothing in an honest history', () => {
    expect(judge(acknowledged, honest)).toEqual([]);
  });

  test.each<[string, string, Partial<Evidence>, Partial<Acknowledged>]>([
    ['a lost record', 'lost', { records: new Map([...honest.records].filter(([seq]) => seq !== 6)) }, {}],
    ['another record in its place', 'lost', { records: new Map(honest.records).set(6, hash(60)) }, {}],
    ['a certificate that left the store', 'lost', { certificates: [first, third] }, {}],
    ['a denial without a record', 'lost', { refusedHosts: new Set() }, {}],
    [
      'a serial that was given to another key',
      'reused',
      { certificates: [first, second, { ...third, publicKey: 'SHA256:other' }] },
      {},
    ],
    [
      'two answers with one serial',
      'reused',
      {},
      { certificates: [...acknowledged.certificates, ...acknowledged.certificates.slice(2)] },
    ],
    ['a serial that does not rise in the store', 'reused', { certificates: [first, third, second] }, {}],
    ['a serial that does not rise in the records', 'reused', { recordedSerials: ['1', '2', '2'] }, {}],
    ['a serial below those of the life before', 'reused', { serialBefore: 2n }, {}],
    [
      'a chain that does not verify',
      'broken-chain',
      { chain: { ok: false, firstBad: 3, why: 'the line is not what its hash says' } },
      {},
    ],
    ['a revocation that the store forgot', 'revoked-forgotten', { revoked: new Set() }, {}],
    ['a revocation that the list forgot', 'revoked-forgotten', { listed: () => false }, {}],
    [
      'an ended session that goes on',
      'revoked-forgotten',
      { endedSessions: new Map([['session-1', 200]]) },
      {},
    ],
    [
      'a proof that is accepted twice',
      'replay-accepted',
      { replays: [{ path: '/v1/certificates', before: 201, status: 201, code: '' }] },
      {},
    ],
    [
      'a denied request that is granted when shown again',
      'replay-accepted',
      { replays: [{ path: '/v1/certificates', before: 404, status: 201, code: '' }] },
      {},
    ],
    [
      'two certificates of one request',
      'replay-accepted',
      { certificates: [first, second, third, { ...third, serial: '4', record: anchor(7) }] },
      {},
    ],
  ])('names %s', (_name, kind, evidence, answers) => {
    const found = judge({ ...acknowledged, ...answers }, { ...honest, ...evidence });
    expect(new Set(found.map((finding) => finding.kind))).toEqual(new Set([kind]));
  });
});

test('A10, K10, L9, Q3: a CA that is killed 30 times at random moments forgets nothing that it acknowledged', () => {
  const crash = spawnSync(join(root, 'scripts', 'crash'), ['30'], { encoding: 'utf8', timeout: 400_000 });
  const last = JSON.parse(crash.stdout.trim().split('\n').at(-1) ?? '{}') as Record<string, unknown>;
  expect({ talk: crash.status === 0 ? '' : crash.stderr, last }).toEqual({
    talk: '',
    last: {
      crash: 'sqlite',
      kills: 30,
      acknowledged: expect.any(Number),
      lost: 0,
      reused: 0,
      broken_chains: 0,
      revoked_forgotten: 0,
      replays_accepted: 0,
      seconds: expect.any(Number),
    },
  });
  // Fewer would mean that the load never ran.
  expect(Number(last['acknowledged'])).toBeGreaterThan(60);
}, 420_000);
