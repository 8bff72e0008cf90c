/**
 * Whether trust documents may be used at a moment, and whether they may follow those that were used before (DESIGN.md
 * section 6; TUF 5.3 and 5.4 think alike). The gate and `beacon host sync` ask the same and answer in their own words.
 * Time and what was seen before are arguments; signatures are looked at elsewhere.
 */
import type { TrustRoot, TrustStatus } from './trust.ts';
import type { ValueReader } from './value-reader.ts';

/** Versions, and the SHA-256 of the documents' exact bytes in lower-case hex. */
export interface TrustVersions {
  readonly root: number;
  readonly rootSha256: string;
  readonly status: number;
  readonly statusSha256: string;
}

export type TrustObjection =
  | { readonly kind: 'clock-behind'; readonly what: string }
  | { readonly kind: 'expired'; readonly document: 'root' | 'status'; readonly what: string };

/** How far the clock may be behind the time at which the status was issued. */
const LATE_CLOCK_MS = 60_000;

/** Why these documents may not be used now, if they may not. */
export function findStale(
  documents: { readonly root: TrustRoot; readonly status: TrustStatus },
  now: Date,
): TrustObjection | undefined {
  const { issued } = documents.status;
  if (now.getTime() < issued.getTime() - LATE_CLOCK_MS) {
    const what = `the clock says ${now.toISOString()}, but the trust status was issued at ${issued.toISOString()}`;
    return { kind: 'clock-behind', what };
  }
  for (const document of ['root', 'status'] as const) {
    const { expires } = documents[document];
    if (now < expires) continue;
    return { kind: 'expired', document, what: `the trust ${document} expired at ${expires.toISOString()}` };
  }
  return undefined;
}

/**
 * How `found` falls behind what was used before, such as `status 3 was used, and now status 2 is shown`; undefined where
 * it does not. A new root begins the versions of the status anew: so a host recovers from a version that a thief of the
 * status key drove up.
 */
export function findStepBack(used: TrustVersions, found: TrustVersions): string | undefined {
  if (found.root < used.root) return stepBack(`root ${used.root}`, `root ${found.root}`);
  if (found.root > used.root) return undefined;
  if (found.rootSha256 !== used.rootSha256)
    return stepBack(`root ${used.root}`, 'another root of the same version');
  if (found.status < used.status) return stepBack(`status ${used.status}`, `status ${found.status}`);
  if (found.status === used.status && found.statusSha256 !== used.statusSha256)
    return stepBack(`status ${used.status}`, 'another status of the same version');
  return undefined;
}

/** As they stand in a file or a record. */
export function spellTrustVersions(versions: TrustVersions): Record<string, string | number> {
  return {
    root: versions.root,
    root_sha256: versions.rootSha256,
    status: versions.status,
    status_sha256: versions.statusSha256,
  };
}

export const TRUST_VERSION_KEYS = ['root', 'root_sha256', 'status', 'status_sha256'] as const;

/** Throws ProtocolError with the reader's code. */
export function readTrustVersions(
  read: Readonly<Record<(typeof TRUST_VERSION_KEYS)[number], ValueReader>>,
): TrustVersions {
  return {
    root: read.root.integer(1, Number.MAX_SAFE_INTEGER),
    rootSha256: read.root_sha256.text(64),
    status: read.status.integer(1, Number.MAX_SAFE_INTEGER),
    statusSha256: read.status_sha256.text(64),
  };
}

function stepBack(used: string, shown: string): string {
  return `${used} was used, and now ${shown} is shown`;
}
