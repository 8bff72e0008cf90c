import type { TrustRoot, TrustStatus } from '@beacon/protocol/trust';
import { findStale, findStepBack, type TrustVersions } from '@beacon/protocol/trust-standing';
import { describe, expect, it } from '@jest/globals';

const NOW = Date.parse('2026-11-22T12:00:00.000Z');
const life = (issued: number, expires: number) => ({ issued: new Date(issued), expires: new Date(expires) });
const root = life(0, NOW + 1_000) as TrustRoot;
const status = life(NOW, NOW + 500) as TrustStatus;
const at = (ms: number) => findStale({ root, status }, new Date(NOW + ms));

describe('trust documents', () => {
  it('B3: may be used until the moment at which either expires', () => {
    expect(at(499)).toBeUndefined();
    expect(at(500)).toMatchObject({ kind: 'expired', document: 'status' });
    expect(at(1_000)).toMatchObject({ kind: 'expired', document: 'root' });
  });

  it('L10: may not be used under a clock that is over a minute before the status was issued', () => {
    expect(at(-60_000)).toBeUndefined();
    expect(at(-60_001)).toMatchObject({ kind: 'clock-behind' });
  });

  const used: TrustVersions = { root: 4, rootSha256: 'r', status: 7, statusSha256: 's' };
  it.each([
    ['B1: an older root', { ...used, root: 3, rootSha256: 'q', status: 99 }, 'root 3 is shown'],
    ['B1: an older status', { ...used, status: 6, statusSha256: 'q' }, 'status 6 is shown'],
    ['B2: another root of one version', { ...used, rootSha256: 'q' }, 'another root of the same version'],
    ['B2: another status of one version', { ...used, statusSha256: 'q' }, 'another status'],
    ['the same', used, undefined],
    ['a newer status', { ...used, status: 8, statusSha256: 'q' }, undefined],
    [
      'B4: a newer root with a lower status',
      { root: 5, rootSha256: 'q', status: 1, statusSha256: 'q' },
      undefined,
    ],
  ])('%s after root 4 and status 7: steps back or not', (_name, found, what) => {
    const said = findStepBack(used, found);
    if (what === undefined) expect(said).toBeUndefined();
    else expect(said).toContain(what);
  });
});
