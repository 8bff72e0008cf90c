/**
 * The trust status (DESIGN.md section 6): signed again whenever something was taken away or a root was published, and
 * before it ages. It names the exact revocation list beside which it is kept. Its version comes from a counter of the
 * store, so it rises across restarts, a restore and several processes. It can only take away, so a clock that went back
 * does not hold it up; nothing here decides what is revoked.
 */
import { createHash } from 'node:crypto';
import { formatTrustStatus, parseTrustRoot, TRUST_STATUS_NAMESPACE } from '@beacon/protocol/trust';
import { storageFailure } from '@beacon/server';
import { isSameKey, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { formatMessageSignature, signMessage } from '@beacon/ssh/sshsig';
import type { Ca, Readable } from './ca.ts';
import { LATE_CLOCK_MS, makeKrl } from './krl.ts';
import { bumpCounter, readCounter } from './store.ts';
import type { TrustKeys } from './trust-root.ts';
import {
  putStatus,
  readLatestRoot,
  readRoot,
  readStatusRow,
  readStatusState,
  type StatusState,
  type TrustStatusRow,
} from './trust-store.ts';

/** How long a status is good: a host that hears nothing for so long admits nothing more. */
export const STATUS_LIFE_MS = 24 * 3_600_000;
/** How old it becomes while nothing changes: what has expired leaves the list then. */
export const STATUS_RENEWED_AFTER_MS = 3_600_000;
/** The counter of its versions. */
export const STATUS_COUNTER = 'trust_status';

/** The format's bound; of more grants than that the newest are named, for the older ones' undo is soon over. */
const MOST_HALTED = 1_024;
const TRIES = 5;

export interface PublishedStatus {
  readonly version: number;
  readonly document: string;
  /** In armour. */
  readonly signature: string;
  /** The revocation list that the document names. */
  readonly krl: Buffer;
}

export interface TrustStatusSource {
  /** The status that counts now; undefined while no root is published. */
  current(): Promise<PublishedStatus | undefined>;
}

type Needed = Pick<Ca, 'store' | 'commit' | 'now' | 'trust'>;

export function createTrustStatus(ca: Needed): TrustStatusSource {
  const { trust } = ca;
  if (trust === undefined) return { current: () => Promise.resolve(undefined) };
  let kept: PublishedStatus | undefined;
  let running: Promise<PublishedStatus | undefined> | undefined;
  let queued: Promise<PublishedStatus | undefined> | undefined;

  async function look(keys: TrustKeys): Promise<PublishedStatus | undefined> {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const wanted = await readWanted(ca);
      if (wanted === undefined) return undefined;
      if (!isDue(ca, wanted) || !(await isNamed(ca, keys, wanted))) break;
      try {
        const made = await make(ca, keys, wanted);
        if (made === undefined) continue;
        kept = made;
        return made;
      } catch (error) {
        // What has only aged is still true: a store that takes no writes must not freeze hosts before their time.
        if (storageFailure(error) === undefined || !isTrue(wanted)) throw error;
        break;
      }
    }
    const row = await readStatusState(ca.store);
    if (row !== undefined && kept?.version !== row.version) kept = await readPublished(ca.store);
    return kept;
  }

  function start(keys: TrustKeys): Promise<PublishedStatus | undefined> {
    const mine = look(keys).finally(() => {
      if (running === mine) running = undefined;
    });
    running = mine;
    return mine;
  }

  return {
    current() {
      if (running === undefined) return start(trust);
      // What is under way may have looked before something was taken away: all who come now share the next look.
      queued ??= running
        .catch(() => undefined)
        .then(() => {
          queued = undefined;
          return start(trust);
        });
      return queued;
    },
  };
}

interface Wanted {
  readonly rootVersion: number;
  readonly krlVersion: bigint;
  readonly version: bigint;
  readonly state: StatusState | undefined;
}

async function readWanted({ store }: Needed): Promise<Wanted | undefined> {
  const root = await readLatestRoot(store);
  if (root === undefined) return undefined;
  return {
    rootVersion: root.version,
    krlVersion: await readCounter(store, 'krl'),
    version: await readCounter(store, STATUS_COUNTER),
    state: await readStatusState(store),
  };
}

/** Whether the status that is kept says what is so. */
function isTrue({ state, rootVersion, krlVersion }: Wanted): boolean {
  return state?.root_version === rootVersion && state.krl_version === krlVersion.toString();
}

function isDue({ now }: Needed, wanted: Wanted): boolean {
  const { state } = wanted;
  if (state === undefined || !isTrue(wanted) || BigInt(state.version) !== wanted.version) return true;
  return Math.abs(now().getTime() - state.issued_at) >= STATUS_RENEWED_AFTER_MS;
}

/**
 * Whether hosts believe this process's key. Between a change of `ca.yaml` and the root that names the new key, or where
 * one of several processes was not restarted, what is kept is better than what every host would refuse.
 */
async function isNamed(ca: Needed, keys: TrustKeys, { rootVersion }: Wanted): Promise<boolean> {
  const row = await readRoot(ca.store, rootVersion);
  if (row === undefined) return false;
  const { statusKey } = parseTrustRoot(Buffer.from(row.document));
  return isSameKey(parsePublicKeyLine(statusKey).key, keys.status.publicKey);
}

/** Signs and keeps the next one; undefined when another process was faster. */
async function make(ca: Needed, keys: TrustKeys, wanted: Wanted): Promise<PublishedStatus | undefined> {
  const version = wanted.version + 1n;
  const issued = ca.now();
  const krl = await makeKrl(ca, wanted.krlVersion);
  const document = formatTrustStatus({
    version: Number(version),
    rootVersion: wanted.rootVersion,
    issued,
    expires: new Date(issued.getTime() + STATUS_LIFE_MS),
    krl: { sha256: createHash('sha256').update(krl).digest('hex'), bytes: krl.length },
    halt: await readHalted(ca.store, issued),
  });
  const signature = formatMessageSignature(
    await signMessage(keys.status, TRUST_STATUS_NAMESPACE, Buffer.from(document)),
  );
  const row = {
    version: Number(version),
    root_version: wanted.rootVersion,
    krl_version: wanted.krlVersion.toString(),
    issued_at: issued.getTime(),
    document,
    signature,
    krl: krl.toString('base64'),
  };
  const isOurs = await ca.commit.write(async (tx) => {
    if ((await readCounter(tx, STATUS_COUNTER)) !== wanted.version) return false;
    if ((await bumpCounter(tx, STATUS_COUNTER)) !== version) return false;
    await putStatus(tx, row);
    return true;
  });
  return isOurs ? publishedOf(row) : undefined;
}

async function readHalted(store: Readable, at: Date): Promise<string[]> {
  const rows = await store
    .selectFrom('certificates')
    .select('grant_id')
    .where('halted', '=', 1)
    .where('grant_id', 'is not', null)
    .where('valid_before', '>', at.getTime() - LATE_CLOCK_MS)
    .orderBy('grant_id', 'desc')
    .limit(MOST_HALTED)
    .execute();
  return rows.flatMap(({ grant_id: grant }) => (grant === null ? [] : [grant]));
}

async function readPublished(store: Readable): Promise<PublishedStatus | undefined> {
  const row = await readStatusRow(store);
  return row === undefined ? undefined : publishedOf(row);
}

function publishedOf(row: Omit<TrustStatusRow, 'name'>): PublishedStatus {
  const { version, document, signature } = row;
  return { version, document, signature, krl: Buffer.from(row.krl, 'base64') };
}
