/**
 * Keeps a GitHub that hangs or is down from piling up requests here. At most so many conversations at a time; after a few
 * in a row that got no usable answer, none for a few seconds, then one to try. What is not asked is refused at once, as
 * `unavailable` with the time to wait: an unknown membership is never a membership. An answer of any kind closes the circuit.
 */
import type { Connection } from './connection.ts';
import { GitHubError } from './error.ts';

export interface CircuitOptions {
  /** Failures in a row that open it. Default 5. */
  readonly failures?: number;
  /** How long it stays open. Default 5,000. */
  readonly openMs?: number;
  /** Conversations at a time. Default 64. */
  readonly concurrent?: number;
  /** A clock that never steps, in milliseconds. */
  readonly monotonicMs?: () => number;
}

export interface Circuit {
  /** Runs `work`, unless it is refused at once. Rejects with what it rejects with, or GitHubError `unavailable`. */
  run<T>(work: () => Promise<T>): Promise<T>;
}

/** The connection behind a circuit of its own. Conversations with a time of their own (for show) do not count. */
export function withCircuit(connection: Connection, host: string, options: CircuitOptions = {}): Connection {
  const circuit = createCircuit(host, options);
  return {
    converse: (credential, work, timeoutMs) =>
      timeoutMs === undefined
        ? circuit.run(() => connection.converse(credential, work))
        : connection.converse(credential, work, timeoutMs),
  };
}

export function createCircuit(host: string, options: CircuitOptions = {}): Circuit {
  const { failures = 5, openMs = 5_000, concurrent = 64 } = options;
  const monotonicMs = options.monotonicMs ?? (() => performance.now());
  let inARow = 0;
  let openUntil = 0;
  let underWay = 0;

  function refuse(why: string, retryAfterMs: number): never {
    const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000));
    throw new GitHubError('unavailable', `${host} ${why}. Try again in ${seconds} s.`, { retryAfterMs });
  }

  return {
    async run(work) {
      const left = openUntil - monotonicMs();
      if (left > 0) refuse('has not answered several times, and is left alone for a moment', left);
      if (underWay >= concurrent) refuse('answers too slowly for all who ask', openMs);
      // The one that tries closes the door behind it.
      if (inARow >= failures) openUntil = monotonicMs() + openMs;
      underWay += 1;
      try {
        const answer = await work();
        inARow = 0;
        openUntil = 0;
        return answer;
      } catch (error) {
        if (error instanceof GitHubError && error.code === 'unavailable') {
          inARow += 1;
          if (inARow >= failures) openUntil = monotonicMs() + openMs;
        } else {
          inARow = 0;
          openUntil = 0;
        }
        throw error;
      } finally {
        underWay -= 1;
      }
    },
  };
}
