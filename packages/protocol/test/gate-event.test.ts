import { ENDINGS, formatGateEvent, type GateEvent, parseGateEvent } from '@beacon/protocol/gate-event';
import { describe, expect, it } from '@jest/globals';
import { refusalOf } from './refusal.ts';

const head = { seq: 7, hash: 'ab'.repeat(32) };
const time = '2026-11-22T12:00:00.000Z';
const grant = '01hzzzzzzz0123456789abcdef';

const events: GateEvent[] = [
  {
    event: 'hello',
    version: '0.1.0',
    host: 'build-01',
    grant,
    until: time,
    allowlist: 'cd'.repeat(32),
    head,
  },
  {
    event: 'hello',
    version: '0.1.0',
    host: 'build-01',
    grant,
    until: time,
    allowlist: 'cd'.repeat(32),
    head,
    notice: 'NOT',
  },
  { event: 'started', id: 1, command: 'runner.install' },
  { event: 'stdout', id: 1, text: 'a\nb\u0000é' },
  { event: 'stdout', id: 1, text: '' },
  { event: 'stderr', id: 1, base64: '/w==' },
  { event: 'truncated', id: 1, max_output_bytes: 0 },
  { event: 'alive' },
  { event: 'exit', id: 1, code: 3, signal: null, why: 'ended', duration_ms: 12, head },
  { event: 'exit', id: 1, code: null, signal: 'SIGKILL', why: 'timeout', duration_ms: 12, head },
  { event: 'undone', id: 1, command: 'runner.remove', code: 0, signal: null, why: 'ended', head },
  { event: 'left', id: 1, command: 'runner.remove', reason: 'halted' },
  { event: 'replaced', id: 2, grant, until: time },
  { event: 'refused', code: 'certificate-used', reason: 'ask for a new one' },
  { event: 'refused', id: 3, code: 'value-refused', reason: 'no' },
  ...ENDINGS.map((why) => ({ event: 'closed', why, head }) as const),
];

describe('an event of a gate', () => {
  it.each(events)('reads back as it was written: %j', (event) => {
    expect(parseGateEvent(formatGateEvent(event))).toEqual(event);
  });

  it.each(events)(
    'with an unknown key, another version or without one of its keys is refused: %j',
    (event) => {
      const value = { v: 1, ...event };
      const optional = ['id', 'notice'];
      const others = [
        { ...value, more: 1 },
        { ...value, v: 2 },
        ...Object.keys(event)
          .filter((key) => !(optional.includes(key) && (event.event === 'refused' || key === 'notice')))
          .map((key) => Object.fromEntries(Object.entries(value).filter(([other]) => other !== key))),
      ];
      for (const other of others) {
        expect(refusalOf(() => parseGateEvent(JSON.stringify(other)))).toBe('gate-line-malformed');
      }
    },
  );
});
