/**
 * Which releases of Beacon work together: a CA and a host may be one minor version apart, either the older, so that a fleet
 * is brought forward in any order, one minor version at a time. A host says its release with each request for itself in
 * {@link RELEASE_HEADER}. Trust documents are read by their own `v` alone: a host that is refused as too far away stays
 * told of revocations. The rules for whoever changes a format stand in docs/host.md.
 */
export const RELEASE_HEADER = 'beacon-release';

const RELEASE = /^(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})$/;

/** Whether two releases, `major.minor.patch`, are near enough. What is no release is not. */
export function isReleaseNear(one: string, other: string): boolean {
  const [first, second] = [RELEASE.exec(one), RELEASE.exec(other)];
  if (first === null || second === null) return false;
  return first[1] === second[1] && Math.abs(Number(first[2]) - Number(second[2])) <= 1;
}
