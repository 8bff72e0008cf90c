/**
 * How often one address and one caller may ask. Counted in this process' memory; replicas each count for themselves
 * until they share a store. A request over the limit is refused before anything is read or looked up for it.
 */
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { ServerError } from './error.ts';
import { addressKey } from './peer.ts';

export interface Limit {
  readonly requests: number;
  readonly perSeconds: number;
}

export interface Limits {
  /** Counts one request of an address. Throws ServerError `too-many-requests` with `retry-after`. */
  address(ip: string): Promise<void>;
  /** Counts one request of a caller, known by any stable text. Throws like `address`. */
  caller(key: string): Promise<void>;
}

export interface LimitsOptions {
  readonly perAddress?: Limit;
  readonly perCaller?: Limit;
}

/** A limit that is not named is not enforced. */
export function createLimits(options: LimitsOptions): Limits {
  const perAddress = options.perAddress === undefined ? undefined : createCounter(options.perAddress);
  const perCaller = options.perCaller === undefined ? undefined : createCounter(options.perCaller);
  return {
    address: async (ip) => perAddress?.(addressKey(ip)),
    caller: async (key) => perCaller?.(key),
  };
}

/** Counts under a key of one's own, for what has a limit apart (a user code that is typed, a login that is begun). */
export function createCounter(limit: Limit): (key: string) => Promise<void> {
  const counter = new RateLimiterMemory({ points: limit.requests, duration: limit.perSeconds });
  return async (key) => {
    try {
      await counter.consume(key);
    } catch (refusal) {
      if (!(refusal instanceof RateLimiterRes)) throw refusal;
      const seconds = Math.max(1, Math.ceil(refusal.msBeforeNext / 1_000));
      throw new ServerError('too-many-requests', `Too many requests: wait ${seconds} s, then try again.`, {
        headers: { 'retry-after': String(seconds) },
      });
    }
  };
}
