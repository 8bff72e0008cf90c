/**
 * Refuses certificates while the clock is behind what the records say it was: by a clock that stepped back, what has ended
 * would be alive again, and what is signed now would be dated into the past. The mark is the latest time in the chain when
 * the CA started, and since then the latest that it has signed by; it rises only. Taking back needs no right clock and is
 * never refused for it.
 */
import type { Ca } from './ca.ts';
import { CaError } from './error.ts';

/** What clocks are corrected by in passing. */
const TOLERANCE_MS = 60_000;

export interface ClockGuard {
  /** Milliseconds that the clock is behind; 0 when it is not. */
  readonly behindMs: number;
  /** Throws CaError `clock-went-back`. */
  require(): void;
}

/** `afterRecord`: times of records up to this one do not count; for a clock that once ran ahead. */
export async function openClockGuard(
  { store, now }: Pick<Ca, 'store' | 'now'>,
  afterRecord: number,
): Promise<ClockGuard> {
  const row = await store
    .selectFrom('records')
    .select(({ fn }) => fn.max('time').as('latest'))
    .where('chain', '=', 'ca')
    .where('seq', '>', afterRecord)
    .executeTakeFirst();
  let latest = Number(row?.latest ?? 0);
  const behind = () => Math.max(0, latest - now().getTime());
  return {
    get behindMs() {
      return behind();
    },
    require() {
      if (behind() > TOLERANCE_MS) {
        throw new CaError(
          'clock-went-back',
          "this CA's clock is behind its own records, so it signs nothing: tell the operator to look at the clock",
        );
      }
      latest = Math.max(latest, now().getTime());
    },
  };
}
