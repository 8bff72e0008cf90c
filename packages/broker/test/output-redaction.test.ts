/** Values that the broker holds do not come through, however a stream is cut; all else comes through as it was. */
import { describe, expect, it } from '@jest/globals';
import { OutputRedaction } from '../src/output-redaction.ts';

function through(redaction: OutputRedaction, chunks: readonly Buffer[]): string {
  const passed = chunks.map((chunk) => redaction.pass('stdout', chunk));
  return Buffer.concat([...passed, redaction.end('stdout')]).toString('utf8');
}

function holding(...values: readonly string[]): OutputRedaction {
  const redaction = new OutputRedaction();
  for (const value of values) redaction.add(value);
  return redaction;
}

describe('what a command writes', () => {
  const text = 'Grüße: geheim-ä-geheim-ä, geheim, aaaab and geheim-äß';
  const clean = 'Grüße: [redacted]-[redacted], geheim, [redacted] and [redacted]ß';

  it('L7: loses each secret wherever it is cut in two', () => {
    const bytes = Buffer.from(text);
    for (let at = 0; at <= bytes.length; at++) {
      const chunks = [bytes.subarray(0, at), bytes.subarray(at)];
      expect(through(holding('geheim-ä', 'aaaab'), chunks)).toBe(clean);
    }
  });

  it('L7: loses each secret when it comes byte by byte', () => {
    const chunks = [...Buffer.from(text)].map((byte) => Buffer.from([byte]));
    expect(through(holding('geheim-ä', 'aaaab'), chunks)).toBe(clean);
  });

  it('loses the longer of two secrets that begin alike, in pieces too', () => {
    for (const at of [1, 3, 4, 6]) {
      const bytes = Buffer.from('abcdef abc');
      const chunks = [bytes.subarray(0, at), bytes.subarray(at)];
      expect(through(holding('abc', 'abcdef'), chunks)).toBe('[redacted] [redacted]');
    }
  });

  it('loses the lines of a secret of several lines', () => {
    const key = '-----BEGIN-----\nMIIEpAIBAAKCAQEA\n-----END-----';
    expect(through(holding(key), [Buffer.from('x MIIEpAIBAAKCAQEA y')])).toBe('x [redacted] y');
  });

  it('comes through at once and unchanged where nothing is held', () => {
    const bytes = Buffer.from([0xff, 0x00, 0x41]);
    const redaction = holding();
    expect(redaction.pass('stdout', bytes)).toEqual(bytes);
    expect(redaction.end('stdout')).toHaveLength(0);
  });

  it('is held back no further than a secret could reach, each stream for itself', () => {
    const redaction = holding('secret');
    expect(redaction.pass('stdout', Buffer.from('ok se')).toString()).toBe('ok ');
    expect(redaction.pass('stderr', Buffer.from('cret')).toString()).toBe('cret');
    expect(redaction.pass('stdout', Buffer.from('t')).toString()).toBe('set');
  });
});

describe('a text', () => {
  it('loses what is held, until it is forgotten', () => {
    const redaction = holding('token-1', '');
    expect(redaction.text('token-1 and token-2')).toBe('[redacted] and token-2');
    redaction.remove('token-1');
    expect(redaction.text('token-1')).toBe('token-1');
  });
});
