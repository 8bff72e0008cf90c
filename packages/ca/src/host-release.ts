/** Whether a machine's own release of Beacon is near enough to the CA's, before anything else is looked at (`@beacon/protocol/release`). */
import { isReleaseNear, RELEASE_HEADER } from '@beacon/protocol/release';
import type { RequestFacts } from '@beacon/server';
import { CaError } from './error.ts';
import { packageVersion } from './version.ts';

const LONGEST = 20;
const own = packageVersion();

/** A request that names no release is judged by its form alone. Throws CaError `release-apart`; no token is used up by it. */
export function requireReleaseNear({ headers }: Pick<RequestFacts, 'headers'>): void {
  const theirs = headers[RELEASE_HEADER];
  if (theirs === undefined || isReleaseNear(theirs, own)) return;
  const said = JSON.stringify(theirs.slice(0, LONGEST));
  throw new CaError(
    'release-apart',
    `this machine has Beacon ${said} and the CA ${own}; they may be one minor version apart: bring the older one forward, one minor version at a time`,
    { denial: { release: own } },
  );
}
