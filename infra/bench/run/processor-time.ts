/**
 * How much processor time processes have used, as the kernel counts it. Other work on the machine hardly moves it, so it
 * can be compared where durations cannot.
 */
import { readFileSync } from 'node:fs';

export interface ProcessorTime {
  /** Milliseconds, of the process itself. */
  readonly own: number;
  /** Of those that it started, and whose end it has heard of. */
  readonly children: number;
}

const MS_PER_TICK = 10;

/** Of several processes together. */
export function processorTime(...pids: readonly number[]): ProcessorTime {
  const all = pids.map(read);
  return {
    own: all.reduce((sum, { own }) => sum + own, 0),
    children: all.reduce((sum, { children }) => sum + children, 0),
  };
}

export function since(before: ProcessorTime, now: ProcessorTime): ProcessorTime {
  return { own: now.own - before.own, children: now.children - before.children };
}

function read(pid: number): ProcessorTime {
  // The name stands in brackets and may hold anything; the fields are counted behind it.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  const ms = (from: number): number => (Number(fields[from]) + Number(fields[from + 1])) * MS_PER_TICK;
  return { own: ms(11), children: ms(13) };
}
