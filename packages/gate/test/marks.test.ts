import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Marks } from '../src/marks.ts';
import { SmallHost } from './small-host.ts';

let host: SmallHost;
beforeEach(async () => {
  host = await SmallHost.open();
});
afterEach(() => host.close());

const HOUR = 3_600_000;

describe('a mark', () => {
  it('can be made once, whoever asks', () => {
    const [one, other] = [new Marks(host.places.marks), new Marks(host.places.marks)];
    expect([one.markSerial(1n, host.now()), other.markSerial(1n, host.now())]).toEqual([true, false]);
    expect([one.markStarted('g', 0, host.now()), other.markStarted('g', 0, host.now())]).toEqual([
      true,
      false,
    ]);
    expect([other.isStarted('g', 0), other.isStarted('g', 1), other.isStarted('h', 0)]).toEqual([
      true,
      false,
      false,
    ]);
  });

  it('goes a day after the end of what it is about, and not before', () => {
    const marks = new Marks(host.places.marks);
    marks.markSerial(1n, new Date(host.clock + HOUR));
    marks.markSerial(2n, new Date(host.clock + 2 * HOUR));
    host.clock += 25 * HOUR + 1;
    marks.sweep(host.now());
    expect(readdirSync(host.places.marks).sort()).toEqual(['serial-2', 'swept']);
    host.clock += 2 * HOUR;
    marks.sweep(host.now());
    expect(readdirSync(host.places.marks)).toEqual(['swept']);
  });
});
