import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { LineInput } from '../src/line-input.ts';

const open = () => {
  const stream = new PassThrough();
  return { stream, input: new LineInput(stream) };
};

describe('the lines of a client', () => {
  it('come one at a time, however they were cut', async () => {
    const { stream, input } = open();
    for (const piece of ['on', 'e\ntw', 'o\n\nthr', 'ee\n']) stream.write(piece);
    const lines = [];
    for (let count = 0; count < 4; count++) lines.push(await input.next(1_000));
    expect(lines.map((one) => (one.kind === 'line' ? one.line : one.kind))).toEqual([
      'one',
      'two',
      '',
      'three',
    ]);
    expect(await input.next(1)).toEqual({ kind: 'idle' });
  });

  it('that wait are given before the end is said; half a line is none', async () => {
    const { stream, input } = open();
    stream.end('one\nhalf');
    expect(await input.next(1_000)).toEqual({ kind: 'line', line: 'one' });
    expect(await input.next(1_000)).toEqual({ kind: 'closed' });
  });

  it('Q3: longer than 64 KiB, or too many waiting, are the end', async () => {
    for (const flood of [
      'x'.repeat(65_537),
      `${'x'.repeat(65_537)}\n`,
      `${'x'.repeat(1_000)}\n`.repeat(1_100),
    ]) {
      const { stream, input } = open();
      const heard = new Promise((resolve) => input.listen(({ kind }) => kind === 'closed' && resolve(kind)));
      stream.write(flood);
      expect(await heard).toBe('closed');
    }
  });

  it('are shown to a listener as they come, and so is the end', async () => {
    const { stream, input } = open();
    const heard: string[] = [];
    stream.write('before\n');
    await new Promise(setImmediate);
    const deafen = input.listen((one) => heard.push(one.kind === 'line' ? one.line : one.kind));
    stream.write('during\n');
    await new Promise(setImmediate);
    deafen();
    stream.write('after\n');
    await new Promise(setImmediate);
    expect(heard).toEqual(['before', 'during']);
    stream.end();
    await new Promise(setImmediate);
    input.listen((one) => heard.push(one.kind));
    expect(heard.at(-1)).toBe('closed');
  });
});
