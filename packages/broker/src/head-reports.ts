/**
 * Tells the CA how far this broker's chain of records goes, and those of hosts as their gates said, when runs have come to
 * rest. One report after the other, for the CA takes no older head, and one for all runs of a session that ended within a
 * moment; what is not reported a later run reports.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ClientError } from '@beacon/client';
import type { ChainHead } from '@beacon/protocol/checkpoint';
import type { Log, Records } from '@beacon/server';
import type { Caller } from './run-order.ts';
import type { RunDatabase } from './store.ts';

export interface HeadReportOptions {
  readonly store: RunDatabase;
  readonly records: Pick<Records, 'head'>;
  readonly log: Pick<Log, 'warn'>;
}

interface Waiting {
  readonly caller: Caller;
  readonly hosts: Map<string, ChainHead>;
}

const MOST_SESSIONS = 64;
/** As many as the CA takes at once. */
const MOST_HOSTS = 256;
const GATHERED_MS = 250;

export class HeadReports {
  readonly #options: HeadReportOptions;
  readonly #waiting = new Map<string, Waiting>();
  #isSending = false;
  #isClosed = false;

  constructor(options: HeadReportOptions) {
    this.#options = options;
  }

  report(caller: Caller, host: string, head: ChainHead | undefined): void {
    if (this.#isClosed) return;
    const known = this.#waiting.get(caller.sessionKey);
    if (known === undefined && this.#waiting.size >= MOST_SESSIONS) return;
    const hosts = known?.hosts ?? new Map<string, ChainHead>();
    this.#waiting.set(caller.sessionKey, { caller, hosts });
    const before = hosts.get(host);
    // Runs on one host may come to rest in another order than its gates ended.
    if (head !== undefined && (before === undefined ? hosts.size < MOST_HOSTS : head.seq > before.seq))
      hosts.set(host, head);
    if (!this.#isSending) void this.#sendAll();
  }

  /** Takes nothing more. What is on its way is not waited for: the CA may be away. */
  close(): void {
    this.#isClosed = true;
    this.#waiting.clear();
  }

  async #sendAll(): Promise<void> {
    this.#isSending = true;
    while (this.#waiting.size > 0) {
      await delay(GATHERED_MS, undefined, { ref: false });
      for (const [session, { caller, hosts }] of [...this.#waiting]) {
        this.#waiting.delete(session);
        await this.#send(caller, [...hosts]);
      }
    }
    this.#isSending = false;
  }

  async #send(caller: Caller, hosts: readonly (readonly [string, ChainHead])[]): Promise<void> {
    try {
      if (this.#isClosed) return;
      const own = await this.#options.records.head(this.#options.store);
      if (own === undefined) return;
      const { seq, hash } = own;
      await caller.api.reportHeads(
        { seq, hash },
        hosts.map(([host, head]) => ({ host, head })),
      );
    } catch (error) {
      // One host whose head is refused must not keep back those of the others.
      if (hosts.length > 1 && error instanceof ClientError && error.code === 'refused') {
        for (const one of hosts) await this.#send(caller, [one]);
        return;
      }
      this.#options.log.warn({ err: error }, 'the heads of records were not reported');
    }
  }
}
