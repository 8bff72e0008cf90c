/**
 * What the CA has acknowledged: every answer that the load generator got, as it got it. It is kept in memory and, line by
 * line, in a file beside the CA's folder, for whoever has to find out what went wrong.
 */
import { appendFileSync } from 'node:fs';

/** A place in the CA's chain of records, as an answer named it. */
export interface Anchor {
  readonly seq: number;
  readonly hash: string;
}

export interface AcknowledgedCertificate {
  readonly serial: string;
  /** Fingerprint of the key that was certified; no other request had it. */
  readonly publicKey: string;
  readonly validBefore: string;
  readonly record: Anchor;
}

export interface AcknowledgedRevocation {
  readonly serials: readonly string[];
  readonly record: Anchor;
}

/** Everything that was acknowledged in one life of the server, from its start to its kill. */
export interface Acknowledged {
  readonly certificates: AcknowledgedCertificate[];
  readonly revocations: AcknowledgedRevocation[];
  readonly sessionEnds: { readonly session: string; readonly record: Anchor }[];
  readonly decisions: Anchor[];
  /** Hosts of refused requests: each was named in one request alone, so its record can be found by it. */
  readonly denials: string[];
}

export function nothingYet(): Acknowledged {
  return { certificates: [], revocations: [], sessionEnds: [], decisions: [], denials: [] };
}

/** How many answers these are. */
export function countOf(acknowledged: Acknowledged): number {
  return Object.values(acknowledged).reduce((sum: number, list: readonly unknown[]) => sum + list.length, 0);
}

/** Every place of the chain that an answer named. */
export function anchorsOf(acknowledged: Acknowledged): Anchor[] {
  const { certificates, revocations, sessionEnds, decisions } = acknowledged;
  return [...[...certificates, ...revocations, ...sessionEnds].map(({ record }) => record), ...decisions];
}

export class Ledger {
  /** Since the last `turnPage`. */
  page: Acknowledged = nothingYet();
  readonly whole: Acknowledged = nothingYet();
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  add<Kind extends keyof Acknowledged>(kind: Kind, entry: Acknowledged[Kind][number]): void {
    for (const book of [this.page, this.whole]) (book[kind] as unknown[]).push(entry);
    appendFileSync(this.#file, `${JSON.stringify({ kind, entry })}\n`);
  }

  /** Answers what was acknowledged since the last time, and begins anew. */
  turnPage(): Acknowledged {
    const { page } = this;
    this.page = nothingYet();
    return page;
  }
}
