/**
 * A CA key is replaced while hosts go on (DESIGN.md section 6): a root names the next key beside the one in use, hosts
 * fetch it and report its version, and only then may the operator take the key into use. Here is the question and the
 * record of its answer; which key signs is what `ca.yaml` names. A host that was not seen for a day is not waited for.
 */
import type { ActivationRequest, RotationState } from '@beacon/protocol/http/rotation';
import { parseTrustRoot } from '@beacon/protocol/trust';
import { fingerprint, parsePublicKeyLine } from '@beacon/ssh/public-key';
import type { Caller } from './access-token.ts';
import { requireAuthority } from './authority.ts';
import type { Ca, Readable } from './ca.ts';
import { CaError } from './error.ts';
import { write } from './write.ts';

const SEEN_WITHIN_MS = 86_400_000;

/** Throws CaError `trust-unpublished`; denied without `ca.rotate`. */
export async function readRotation(ca: Ca, caller: Caller, ip: string): Promise<RotationState> {
  await requireAuthority(ca, caller, 'ca.rotate', ip);
  return rotationOf(ca, ca.store);
}

/**
 * Records that a key may be taken into use. Throws CaError `rotation-waits` naming the hosts that lack it, in the denial
 * too; `ca-key-unknown`, `rotation-done`; denied without `ca.rotate`.
 */
export async function activateKey(
  ca: Ca,
  caller: Caller,
  request: ActivationRequest,
  ip: string,
): Promise<{ seq: number; hash: string }> {
  await requireAuthority(ca, caller, 'ca.rotate', ip);
  return write(ca, caller, async (tx) => {
    const { root, keys } = await rotationOf(ca, tx);
    const key = keys.find((one) => one.fingerprint === request.key);
    if (key === undefined)
      throw new CaError(
        'ca-key-unknown',
        `trust root ${root} does not name ${request.key}: publish one that does`,
      );
    if (key.in_use) throw new CaError('rotation-done', `this CA signs with ${request.key} already`);
    const lacking = key.waiting.map(({ id }) => id).filter((id) => !request.without.includes(id));
    if (lacking.length > 0)
      throw new CaError(
        'rotation-waits',
        `these hosts do not trust the key yet: ${lacking.slice(0, 20).join(', ')}${lacking.length > 20 ? ', …' : ''}; wait for them, or leave them behind with --without`,
        { denial: { hosts: lacking.slice(0, 1_000) } },
      );
    const record = await ca.records.append(tx, {
      kind: 'rotation-activated',
      person: caller.person,
      service: caller.service,
      facts: {
        key: request.key,
        authority: key.kind,
        root,
        without: request.without,
        waiting: key.waiting.map(({ id }) => id),
        reason: request.reason,
      },
    });
    return { seq: record.seq, hash: record.hash };
  });
}

async function rotationOf(ca: Ca, store: Readable): Promise<RotationState> {
  const rows = await store.selectFrom('trust_roots').selectAll().orderBy('version', 'desc').execute();
  const roots = rows.map(({ document }) => parseTrustRoot(Buffer.from(document)));
  const [newest] = roots;
  if (newest === undefined)
    throw new CaError('trust-unpublished', 'no trust root is published: see docs/trust.md');
  const seen = await store
    .selectFrom('host_reports')
    .innerJoin('hosts', 'hosts.id', 'host_reports.host')
    .select(['host_reports.host', 'host_reports.trust_root', 'host_reports.seen_at'])
    .where('hosts.state', '=', 'enabled')
    .where('host_reports.seen_at', '>', ca.now().getTime() - SEEN_WITHIN_MS)
    .orderBy('host_reports.host')
    .execute();
  const own = [ca.userCa.publicKey, ca.hostCa.publicKey].map(fingerprint);
  const keys = (['user', 'host'] as const).flatMap((kind) => {
    const linesOf = (root: typeof newest) => (kind === 'user' ? root.userCa : root.hostCa);
    return linesOf(newest).map((line) => {
      const without = roots.findIndex((root) => !linesOf(root).includes(line));
      const since = (without === -1 ? roots.at(-1) : roots[without - 1])?.version ?? newest.version;
      const print = fingerprint(parsePublicKeyLine(line).key);
      return {
        kind,
        fingerprint: print,
        in_use: own.includes(print),
        since,
        waiting: seen
          .filter(({ trust_root: version }) => version < since)
          .map(({ host, trust_root: root, seen_at: at }) => ({
            id: host,
            root,
            seen: new Date(at).toISOString(),
          })),
      };
    });
  });
  return { root: newest.version, keys };
}
