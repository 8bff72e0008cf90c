/**
 * How many connections there may be at once, to one host and in all, and who waits for one: in the order in which they
 * came, except that nobody waits for a host that has room behind somebody whose host has none (ATTACKS.md R12, Q7).
 */
import { BrokerError } from './error.ts';

export interface SlotBounds {
  readonly inAll: number;
  readonly perHost: number;
  readonly waiting: number;
}

interface Waiter {
  readonly host: string;
  readonly take: () => void;
}

export class ConnectionSlots {
  readonly #bounds: SlotBounds;
  readonly #taken = new Map<string, number>();
  #inAll = 0;
  #waiting: Waiter[] = [];

  constructor(bounds: SlotBounds) {
    this.#bounds = bounds;
  }

  /**
   * Resolves with what gives the place back; calling it again does nothing. `onWait` hears that there is none at once.
   * Throws BrokerError `queue-full`, or the reason of the signal.
   */
  async take(
    host: string,
    signal: AbortSignal | undefined,
    onWait: (text: string) => void,
  ): Promise<() => void> {
    signal?.throwIfAborted();
    if (!this.#hasRoom(host)) {
      if (this.#waiting.length >= this.#bounds.waiting) {
        throw new BrokerError(
          'queue-full',
          `${this.#waiting.length} connections are waited for already: try again in a minute`,
        );
      }
      onWait(
        (this.#taken.get(host) ?? 0) >= this.#bounds.perHost
          ? `waiting: ${this.#bounds.perHost} connections to ${host} are open, and no more are made at once`
          : `waiting: ${this.#bounds.inAll} connections are open, and no more are made at once`,
      );
      await this.#wait(host, signal);
    } else {
      this.#occupy(host);
    }
    let isGiven = false;
    return () => {
      if (isGiven) return;
      isGiven = true;
      this.#giveBack(host);
    };
  }

  #hasRoom(host: string): boolean {
    return this.#inAll < this.#bounds.inAll && (this.#taken.get(host) ?? 0) < this.#bounds.perHost;
  }

  #occupy(host: string): void {
    this.#inAll += 1;
    this.#taken.set(host, (this.#taken.get(host) ?? 0) + 1);
  }

  #wait(host: string, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting = this.#waiting.filter((one) => one !== waiter);
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        host,
        take: () => {
          signal?.removeEventListener('abort', leave);
          resolve();
        },
      };
      this.#waiting.push(waiter);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  #giveBack(host: string): void {
    this.#inAll -= 1;
    const left = (this.#taken.get(host) ?? 1) - 1;
    if (left === 0) this.#taken.delete(host);
    else this.#taken.set(host, left);
    const next = this.#waiting.find((waiter) => this.#hasRoom(waiter.host));
    if (next === undefined) return;
    this.#waiting = this.#waiting.filter((waiter) => waiter !== next);
    this.#occupy(next.host);
    next.take();
  }
}
