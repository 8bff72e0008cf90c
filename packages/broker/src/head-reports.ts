/**
 * Tells the CA how far this broker's chain of records goes, and those of hosts as their gates said, when a run has come to
 * rest. One report after the other, for the CA takes no older head; what is not reported a later run reports.
 */
import type { ChainHead } from '@beacon/protocol/checkpoint';
import type { Log, Records } from '@beacon/server';
import type { Caller } from './run-order.ts';
import type { RunDatabase } from './store.ts';

export interface HeadReportOptions {
  readonly store: RunDatabase;
  readonly records: Pick<Records, 'head'>;
  readonly log: Pick<Log, 'warn'>;
}

const MOST_WAITING = 16;

export class HeadReports {
  readonly #options: HeadReportOptions;
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;
  #isClosed = false;

  constructor(options: HeadReportOptions) {
    this.#options = options;
  }

  report(caller: Caller, host: string, head: ChainHead | undefined): void {
    if (this.#isClosed || this.#waiting >= MOST_WAITING) return;
    this.#waiting += 1;
    this.#last = this.#last.then(async () => {
      this.#waiting -= 1;
      try {
        await this.#send(caller, host, head);
      } catch (error) {
        this.#options.log.warn({ err: error }, 'the heads of records were not reported');
      }
    });
  }

  /** Takes nothing more. What is on its way is not waited for: the CA may be away. */
  close(): void {
    this.#isClosed = true;
  }

  async #send(caller: Caller, host: string, head: ChainHead | undefined): Promise<void> {
    if (this.#isClosed) return;
    const own = await this.#options.records.head(this.#options.store);
    if (own === undefined) return;
    const { seq, hash } = own;
    await caller.api.reportHeads({ seq, hash }, head === undefined ? [] : [{ host, head }]);
  }
}
