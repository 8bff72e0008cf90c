/**
 * A CA key is replaced while hosts go on (DESIGN.md section 6): a root names the next key beside the one in use, hosts
 * fetch it and report its version, and only then can the next one be activated, from which moment it signs. A host that
 * was not seen for a day is not waited for. The former key goes with a later root, once nothing depends on it.
 */
import type { ActivationRequest, RotationState } from '@beacon/protocol/http/rotation';
import { parseTrustRoot, type TrustRoot } from '@beacon/protocol/trust';
import { fingerprint, parsePublicKeyLine } from '@beacon/ssh/public-key';
import type { Caller } from './access-token.ts';
import { requireAuthority } from './authority.ts';
import type { Ca, Readable } from './ca.ts';
import { takeIntoUse } from './ca-key.ts';
import { readHold } from './ca-key-hold.ts';
import { type KnownKey, readCaKeyRows } from './ca-key-store.ts';
import { CaError } from './error.ts';
import { write } from './write.ts';

const SEEN_WITHIN_MS = 86_400_000;
const MOST_UNSEEN = 1_000;

/** Throws CaError `trust-unpublished`; denied without `ca.rotate`. */
export async function readRotation(ca: Ca, caller: Caller, ip: string): Promise<RotationState> {
  await requireAuthority(ca, caller, 'ca.rotate', ip);
  const { store } = ca;
  const [keys, seen] = [await readCaKeyRows(store), await readSeen(ca, store)];
  const roots = await readRoots(store);
  const described = keys
    .filter(({ state }) => state !== 'retired')
    .map(async (key) => {
      const hold = key.state === 'former' ? await readHold(store, key, ca.now()) : undefined;
      return {
        kind: key.kind,
        fingerprint: key.fingerprint,
        state: key.state as Exclude<KnownKey['state'], 'retired'>,
        in_use: key.state === 'signs',
        opened: isOpened(ca, key),
        revoked: key.revoked_at !== null,
        since: namedSince(roots, key),
        waiting: waitingFor(roots, key, seen),
        held_until: hold?.until?.toISOString() ?? null,
        held_by: [...(hold?.hosts ?? [])],
      };
    });
  const ids = new Set(seen.map(({ host }) => host));
  const enabled = await store
    .selectFrom('hosts')
    .select('id')
    .where('state', '=', 'enabled')
    .orderBy('id')
    .execute();
  return {
    root: roots[0].version,
    keys: await Promise.all(described),
    unseen: enabled.flatMap(({ id }) => (ids.has(id) ? [] : [id])).slice(0, MOST_UNSEEN),
  };
}

/**
 * From here on the key signs, in every process on this store. Throws CaError `rotation-waits` naming the hosts that lack
 * it, in the denial too; `ca-key-unknown`, `ca-key-missing`, `key-revoked`, `rotation-done`; denied without `ca.rotate`.
 */
export async function activateKey(
  ca: Ca,
  caller: Caller,
  request: ActivationRequest,
  ip: string,
): Promise<{ seq: number; hash: string }> {
  await requireAuthority(ca, caller, 'ca.rotate', ip);
  return write(ca, caller, async (tx) => {
    const roots = await readRoots(tx);
    const root = roots[0].version;
    const key = (await readCaKeyRows(tx)).find((one) => one.fingerprint === request.key);
    if (key === undefined || key.state === 'retired')
      throw new CaError(
        'ca-key-unknown',
        `trust root ${root} does not name ${request.key}: publish one that does`,
      );
    if (key.state === 'signs')
      throw new CaError('rotation-done', `this CA signs with ${request.key} already`);
    if (key.revoked_at !== null) throw new CaError('key-revoked', `${request.key} is revoked: make another`);
    if (!isOpened(ca, key))
      throw new CaError(
        'ca-key-missing',
        `the CA does not have ${request.key}: name it as keys.${key.kind}_ca_next in ca.yaml, and restart; every process, when there are several`,
      );
    const waiting = waitingFor(roots, key, await readSeen(ca, tx)).map(({ id }) => id);
    const lacking = waiting.filter((id) => !request.without.includes(id));
    if (lacking.length > 0)
      throw new CaError(
        'rotation-waits',
        `these hosts do not trust the key yet: ${lacking.slice(0, 20).join(', ')}${lacking.length > 20 ? ', …' : ''}; wait for them, or leave them behind with --without`,
        { denial: { hosts: lacking.slice(0, 1_000) } },
      );
    const { kind, public_key: line } = key;
    return takeIntoUse(
      ca,
      tx,
      { kind, publicKey: parsePublicKeyLine(line).key },
      {
        kind: 'rotation-activated',
        person: caller.person,
        service: caller.service,
        facts: { root, without: request.without, waiting, reason: request.reason },
      },
    );
  });
}

function isOpened(ca: Ca, key: KnownKey): boolean {
  const { opened } = key.kind === 'user' ? ca.userCa : ca.hostCa;
  return opened.some(({ publicKey }) => fingerprint(publicKey) === key.fingerprint);
}

/** All roots, newest first. Throws CaError `trust-unpublished` when there is none. */
async function readRoots(store: Readable): Promise<readonly [TrustRoot, ...TrustRoot[]]> {
  const rows = await store.selectFrom('trust_roots').selectAll().orderBy('version', 'desc').execute();
  const [newest, ...others] = rows.map(({ document }) => parseTrustRoot(Buffer.from(document)));
  if (newest === undefined)
    throw new CaError('trust-unpublished', 'no trust root is published: see docs/trust.md');
  return [newest, ...others];
}

interface Seen {
  readonly host: string;
  readonly trust_root: number;
  readonly seen_at: number;
}

/** What the enabled hosts reported within a day. */
function readSeen(ca: Ca, store: Readable): Promise<readonly Seen[]> {
  return store
    .selectFrom('host_reports')
    .innerJoin('hosts', 'hosts.id', 'host_reports.host')
    .select(['host_reports.host', 'host_reports.trust_root', 'host_reports.seen_at'])
    .where('hosts.state', '=', 'enabled')
    .where('host_reports.seen_at', '>', ca.now().getTime() - SEEN_WITHIN_MS)
    .orderBy('host_reports.host')
    .execute();
}

/** The first of the roots that name the key without a gap, up to the newest. */
function namedSince(roots: readonly [TrustRoot, ...TrustRoot[]], key: KnownKey): number {
  const names = (root: TrustRoot) =>
    (key.kind === 'user' ? root.userCa : root.hostCa).includes(key.public_key);
  const without = roots.findIndex((root) => !names(root));
  if (without === -1) return roots.at(-1)?.version ?? roots[0].version;
  // A key that the newest one lacks is in none of them; no host can report the version after it.
  return without === 0 ? roots[0].version + 1 : (roots[without - 1]?.version ?? roots[0].version);
}

function waitingFor(roots: readonly [TrustRoot, ...TrustRoot[]], key: KnownKey, seen: readonly Seen[]) {
  const since = namedSince(roots, key);
  return seen
    .filter(({ trust_root: version }) => version < since)
    .map(({ host: id, trust_root: root, seen_at: at }) => ({ id, root, seen: new Date(at).toISOString() }));
}
