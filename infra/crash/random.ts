/** Chance that can be had again: numbers drawn from SHA-256 over a seed and a counter. */
import { createHash } from 'node:crypto';

export interface Random {
  /** At least 0 and below 1. */
  next(): number;
  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number;
}

export function createRandom(seed: string): Random {
  let drawn = 0;
  const next = () => {
    drawn += 1;
    return createHash('sha256').update(`${seed}\0${drawn}`).digest().readUInt32BE(0) / 2 ** 32;
  };
  return { next, between: (low, high) => low + Math.floor(next() * (high - low + 1)) };
}
