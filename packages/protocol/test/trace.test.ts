import { createId } from '@beacon/protocol/id';
import { FIRST_PREVIOUS, formatRecord, hashRecord, type RecordFields } from '@beacon/protocol/record';
import { joinTrace, type TraceLines } from '@beacon/protocol/trace';
import { describe, expect, it } from '@jest/globals';
import { refusalOf } from './refusal.ts';

const NOW = Date.UTC(2026, 10, 22, 20, 0, 0);
const GRANT = createId(NOW, (length) => Buffer.alloc(length, 1));
const OTHER = createId(NOW, (length) => Buffer.alloc(length, 2));
const DIGEST = 'A'.repeat(43);

type Facts = NonNullable<RecordFields['facts']>;
type Written = readonly [atMs: number, kind: string, facts: Facts, more?: Partial<RecordFields>];

/** A chain as it is written: each line after the one before. */
function chain(name: string, ...records: readonly Written[]): string[] {
  const lines: string[] = [];
  for (const [at, kind, facts, more] of records) {
    const before = lines.at(-1);
    const about = { person: 'github:102', service: 'portal', host: 'build-01', grant: GRANT };
    lines.push(
      formatRecord(
        { ...about, chain: name, seq: lines.length + 1, time: new Date(NOW + at), kind, facts, ...more },
        before === undefined ? FIRST_PREVIOUS : hashRecord(before),
      ),
    );
  }
  return lines;
}

const issued: Written = [
  0,
  'certificate',
  {
    serial: '7',
    valid_before: new Date(NOW + 60_000).toISOString(),
    commands: [
      { command: 'app.pull', digest: DIGEST, params: {} },
      { command: 'app.up', digest: DIGEST.replace('A', 'B'), params: {} },
    ],
  },
];
const created: Written = [-5, 'run-created', { run: OTHER }];
const pullStarted: Written = [40, 'step-started', { run: OTHER, step: 0, command: 'app.pull' }];
const pullSucceeded: Written = [60, 'step-succeeded', { run: OTHER, step: 0, command: 'app.pull' }];
const opened: Written = [20, 'session-opened', { serial: '7', commands: ['app.pull', 'app.up'] }];
const began: Written = [
  30,
  'command-started',
  { serial: '7', index: 0, command: 'app.pull', digest: DIGEST },
];
const ended: Written = [
  50,
  'command-ended',
  { serial: '7', index: 0, command: 'app.pull', why: 'ended', code: 0, signal: null },
];
const closed: Written = [70, 'session-closed', { serial: '7', why: 'ended' }];
const login = `2026-11-22T20:00:00.010+00:00 build-01 sshd[9]: Accepted publickey for beacon from 192.0.2.1 port 5 ssh2: ED25519-CERT SHA256:x ID beacon/${GRANT}/github:102 (serial 7) CA ED25519 SHA256:y`;

/** A run as it should be; `doctored` replaces whole sources. */
function history(doctored: TraceLines = {}): TraceLines {
  return {
    ca: chain('ca', issued),
    broker: chain(
      'broker',
      [-5, 'run-created', { run: OTHER }, { grant: undefined } as never],
      pullStarted,
      pullSucceeded,
    ),
    host: chain('host/build-01', opened, began, ended, closed),
    sshd: ['2026-11-22T20:00:00Z build-01 sshd[9]: Server listening', login],
    ...doctored,
  };
}

function codesOf(doctored: TraceLines): string[] {
  return joinTrace(GRANT, history(doctored)).findings.map(({ code }) => code);
}

describe('the trace of a grant', () => {
  it('joins all four in the order of time, and finds nothing where all say the same', () => {
    const trace = joinTrace(GRANT, history());
    expect(trace.findings).toEqual([]);
    expect(trace.unread).toEqual([]);
    expect(trace.entries.map(({ source, kind }) => `${source} ${kind}`)).toEqual([
      'broker run-created',
      'ca certificate',
      'sshd accepted',
      'host session-opened',
      'host command-started',
      'broker step-started',
      'host command-ended',
      'broker step-succeeded',
      'host session-closed',
    ]);
  });

  it('puts a line of sshd that has no time right before the session that it led to', () => {
    const bare = login.replace('2026-11-22T20:00:00.010+00:00', 'Nov 22 21:00:00');
    const { entries } = joinTrace(GRANT, history({ sshd: [bare] }));
    expect(entries.map(({ kind }) => kind).slice(2, 4)).toEqual(['accepted', 'session-opened']);
  });

  it('passes over what belongs to another grant', () => {
    const others = { grant: OTHER, person: 'github:1' };
    const ca = chain('ca', [0, 'certificate', { serial: '6' }, others], issued);
    const host = chain(
      'host/build-01',
      [1, 'session-opened', { serial: '6' }, others],
      opened,
      began,
      ended,
      closed,
    );
    const sshd = [login, login.replace(GRANT, OTHER).replace('serial 7', 'serial 6')];
    const trace = joinTrace(GRANT, history({ ca, host, sshd }));
    expect(trace.findings).toEqual([]);
    expect(trace.entries).toHaveLength(9);
  });

  it('says which sources were not read, and nothing of what only they could tell', () => {
    const trace = joinTrace(GRANT, { host: chain('host/build-01', opened, began, ended, closed) });
    expect(trace.unread).toEqual(['ca', 'broker', 'sshd']);
    expect(trace.findings).toEqual([]);
  });

  it('refuses a grant that is none', () => {
    expect(refusalOf(() => joinTrace('../etc', {}))).toBe('id-malformed');
  });
});

describe('a doctored history', () => {
  const host = (...records: readonly Written[]) => chain('host/build-01', ...records);
  const facts = ([at, kind, before]: Written, more: Facts): Written => [at, kind, { ...before, ...more }];
  const rows: readonly (readonly [what: string, doctored: TraceLines, codes: readonly string[]])[] = [
    ['a certificate that the CA never issued', { ca: [] }, ['never-issued', 'never-issued', 'never-issued']],
    [
      'another serial in the log of sshd',
      { sshd: [login.replace('serial 7', 'serial 8')] },
      ['never-issued'],
    ],
    [
      'another serial at the host',
      { host: host(facts(opened, { serial: '8' }), began, ended, closed) },
      ['never-issued'],
    ],
    [
      'a replacement that the CA never issued',
      { host: host(opened, [25, 'grant-replaced', { serial: '7', by_serial: '8' }], began, ended, closed) },
      ['never-issued'],
    ],
    [
      'another person in the log of sshd',
      { sshd: [login.replace('github:102', 'github:103')] },
      ['other-names'],
    ],
    [
      'another person at the host',
      { host: host(opened, [30, 'command-started', began[2], { person: 'github:103' }], ended, closed) },
      ['other-names'],
    ],
    [
      'the records of another host',
      { host: chain('host/build-02', opened, began, ended, closed) },
      ['other-names', 'other-names', 'other-names', 'other-names'],
    ],
    [
      'other arguments',
      { host: host(opened, facts(began, { digest: DIGEST.replace('A', 'C') }), ended, closed) },
      ['digest-mismatch'],
    ],
    [
      'a command beyond the grant',
      { host: host(opened, facts(began, { index: 2 }), facts(ended, { index: 2 }), closed) },
      ['not-granted'],
    ],
    [
      'a command at the place of another',
      { host: host(opened, facts(began, { index: 1 }), facts(ended, { index: 1 }), closed) },
      ['not-granted'],
    ],
    ['a command that ran twice', { host: host(opened, began, began, ended, closed) }, ['not-granted']],
    [
      'a command that started late',
      {
        host: host(
          opened,
          [60_000, began[1], began[2]],
          [60_001, ended[1], ended[2]],
          [60_002, 'session-closed', {}],
        ),
      },
      ['started-late'],
    ],
    ['a command without a run', { broker: [] }, ['command-without-run']],
    [
      'a command under a grant that no run has',
      { broker: chain('broker', [-5, 'run-created', {}, { grant: OTHER }]) },
      ['command-without-run'],
    ],
    ['a run without its command', { host: host(opened, closed) }, ['run-without-command']],
    ['a run without any record of the host', { host: [] }, ['run-without-command']],
    [
      'a failure that the broker calls a success',
      { host: host(opened, began, facts(ended, { code: 1 }), closed) },
      ['outcome-mismatch'],
    ],
    [
      'a success that the broker calls a failure',
      { broker: chain('broker', created, pullStarted, [60, 'step-failed', { command: 'app.pull' }]) },
      ['outcome-mismatch'],
    ],
    [
      'a command without its end',
      { broker: chain('broker', created, pullStarted), host: host(opened, began, closed) },
      ['command-without-end'],
    ],
    ['a line that is no record', { ca: [...chain('ca', issued), '{"v":1}'] }, ['record-malformed']],
    [
      'a record of another chain',
      { ca: chain('broker', issued) },
      ['record-malformed', 'never-issued', 'never-issued', 'never-issued'],
    ],
  ];
  it.each(rows)('is found out by %s', (_what, doctored, codes) => {
    expect(codesOf(doctored)).toEqual(codes);
  });

  it('is found out by what the broker was told of the heads of its chain', () => {
    const records = host(opened, began, ended, closed);
    const told = (lines: readonly string[]) => {
      const head = (seq: number) => ({ seq, hash: hashRecord(lines[seq - 1] ?? '') });
      const heads: Written[] = [
        [21, 'session-opened', { run: OTHER, ...head(1) }],
        [71, 'session-closed', { run: OTHER, ...head(4) }],
      ];
      return chain('broker', created, pullStarted, pullSucceeded, ...heads);
    };
    expect(codesOf({ host: records, broker: told(records) })).toEqual([]);
    const rewritten = host(opened, began, facts(ended, { duration_ms: 1 }), closed);
    expect(codesOf({ host: rewritten, broker: told(records) })).toEqual(['head-mismatch']);
    expect(codesOf({ host: records.slice(1), broker: told(records) })).toEqual(['head-mismatch']);
  });

  it('is found out by a record that was changed, at its neighbour', () => {
    const lines = host(opened, began, ended, closed).map((line) => line.replace('"index":0,', '"index":0, '));
    expect(codesOf({ host: lines })).toEqual(['chain-broken', 'chain-broken']);
    const twice = [...host(opened, began, ended, closed), ...host(opened, began, [51, ended[1], ended[2]])];
    expect(codesOf({ host: twice })).toContain('chain-broken');
  });

  it('says in its texts what a person needs, and no more of a hostile line than a piece', () => {
    const trace = joinTrace(GRANT, history({ ca: [...chain('ca', issued), 'x'.repeat(100_000)] }));
    expect(trace.findings[0]?.text.length).toBeLessThan(200);
  });
});
