/**
 * The judge of `scripts/crash`: holds what a CA acknowledged against what its store and its server say after a kill, and
 * names every difference. Pure: it can be shown a doctored history, and must name what is wrong with it.
 */
import type { Acknowledged, Anchor } from './ledger.ts';
import { anchorsOf } from './ledger.ts';

export type FindingKind = 'lost' | 'reused' | 'broken-chain' | 'revoked-forgotten' | 'replay-accepted';

export interface Finding {
  readonly kind: FindingKind;
  readonly what: string;
}

/** A certificate as the store has it. */
export interface StoredCertificate {
  readonly serial: string;
  readonly publicKey: string;
  readonly revoked: boolean;
  readonly record: Anchor;
}

/** A request that was shown once more after the kill. */
export interface Replay {
  readonly path: string;
  /** What it was answered before the kill; undefined when no answer came, and nobody knows whether it counted. */
  readonly before: number | undefined;
  readonly status: number;
  readonly code: string;
}

/** What is there after the kill, from `after` (a record's number) on. */
export interface Evidence {
  /** Undefined when the chain was not verified as a whole this time. */
  readonly chain:
    | { readonly ok: true }
    | { readonly ok: false; readonly firstBad: number; readonly why: string }
    | undefined;
  /** Hash of each record, by its number. */
  readonly records: ReadonlyMap<number, string>;
  /** Hosts that records of refused requests name. */
  readonly refusedHosts: ReadonlySet<string>;
  /** In the order of their records. */
  readonly certificates: readonly StoredCertificate[];
  /** The highest serial before them; 0 when they are the first. */
  readonly serialBefore: bigint;
  /** Serials that records of certificates name, in the order of the chain. */
  readonly recordedSerials: readonly string[];
  /** Every serial that the store has as revoked. */
  readonly revoked: ReadonlySet<string>;
  /** Whether the revocation list that the server hands out names a serial. */
  readonly listed: (serial: string) => boolean;
  /** Ended sessions whose token was shown again, and the status that it got. */
  readonly endedSessions: ReadonlyMap<string, number>;
  readonly replays: readonly Replay[];
}

export function judge(acknowledged: Acknowledged, evidence: Evidence): Finding[] {
  return [
    ...findLost(acknowledged, evidence),
    ...findReused(acknowledged, evidence),
    ...findBroken(evidence),
    ...findForgotten(acknowledged, evidence),
    ...findReplayed(evidence),
  ];
}

function findLost(acknowledged: Acknowledged, { records, certificates, refusedHosts }: Evidence): Finding[] {
  const lost = (what: string): Finding => ({ kind: 'lost', what });
  const stored = new Map(certificates.map((one) => [one.serial, one]));
  const unrecorded = anchorsOf(acknowledged)
    .filter(({ seq, hash }) => records.get(seq) !== hash)
    .map(({ seq, hash }) =>
      lost(
        `record ${seq} with the hash ${hash} was acknowledged, and there is ${records.get(seq) ?? 'none'}`,
      ),
    );
  const missing = acknowledged.certificates
    .filter(({ serial }) => !stored.has(serial))
    .map(({ serial }) => lost(`the certificate ${serial} was handed out, and is not in the store`));
  const denials = acknowledged.denials
    .filter((host) => !refusedHosts.has(host))
    .map((host) => lost(`a request for ${host} was refused, and no record tells of it`));
  return [...unrecorded, ...missing, ...denials];
}

function findReused(acknowledged: Acknowledged, evidence: Evidence): Finding[] {
  const reused = (what: string): Finding => ({ kind: 'reused', what });
  const stored = new Map(evidence.certificates.map((one) => [one.serial, one]));
  const findings: Finding[] = [];
  const answered = new Set<string>();
  for (const { serial, publicKey } of acknowledged.certificates) {
    if (answered.has(serial)) findings.push(reused(`two answers carry the serial ${serial}`));
    answered.add(serial);
    const row = stored.get(serial);
    if (row !== undefined && row.publicKey !== publicKey)
      findings.push(
        reused(`the serial ${serial} was handed out for ${publicKey}, and is now that of ${row.publicKey}`),
      );
  }
  const risen = (name: string, serials: readonly string[]) => {
    let last = evidence.serialBefore;
    for (const serial of serials) {
      if (BigInt(serial) <= last) findings.push(reused(`${name}: the serial ${serial} comes after ${last}`));
      last = BigInt(serial);
    }
  };
  risen(
    'store',
    evidence.certificates.map(({ serial }) => serial),
  );
  risen('records', evidence.recordedSerials);
  risen(
    'answers',
    [...acknowledged.certificates]
      .sort((one, other) => one.record.seq - other.record.seq)
      .map(({ serial }) => serial),
  );
  return findings;
}

function findBroken({ chain }: Evidence): Finding[] {
  if (chain === undefined || chain.ok) return [];
  return [{ kind: 'broken-chain', what: `record ${chain.firstBad}: ${chain.why}` }];
}

function findForgotten(acknowledged: Acknowledged, { revoked, listed, endedSessions }: Evidence): Finding[] {
  const forgotten = (what: string): Finding => ({ kind: 'revoked-forgotten', what });
  const findings: Finding[] = [];
  for (const serial of acknowledged.revocations.flatMap(({ serials }) => serials)) {
    if (!revoked.has(serial))
      findings.push(forgotten(`the serial ${serial} was revoked, and the store has it as good`));
    if (!listed(serial))
      findings.push(forgotten(`the serial ${serial} was revoked, and the revocation list does not name it`));
  }
  for (const { session } of acknowledged.sessionEnds) {
    const status = endedSessions.get(session);
    if (status !== undefined && status !== 401)
      findings.push(forgotten(`the session ${session} was ended, and its token got ${status}`));
  }
  return findings;
}

/**
 * A proof that was accepted before must be refused as such, and what was refused before must not be granted now; and no
 * key, asked about once, may have two certificates.
 */
function findReplayed({ replays, certificates }: Evidence): Finding[] {
  const accepted = (what: string): Finding => ({ kind: 'replay-accepted', what });
  const shown = replays
    .filter(({ before, status }) => before !== undefined && (before < 300 ? status !== 401 : status < 400))
    .map(({ path, status, code }) => accepted(`a proof for ${path} that was used up got ${status} ${code}`));
  const perKey = new Map<string, string[]>();
  for (const { publicKey, serial } of certificates)
    perKey.set(publicKey, [...(perKey.get(publicKey) ?? []), serial]);
  const doubled = [...perKey]
    .filter(([, serials]) => serials.length > 1)
    .map(([key, serials]) =>
      accepted(`one request for ${key} made the certificates ${serials.join(' and ')}`),
    );
  return [...shown, ...doubled];
}
