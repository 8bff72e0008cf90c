/** The parts of a gate on its host, put together once for a process; each is explained in its own file. */
import { type Allowlist, parseAllowlist } from '@beacon/protocol/allowlist';
import { type HostIdentity, parseHostIdentity } from '@beacon/protocol/trust';
import { GateError } from './error.ts';
import type { Execution } from './execution.ts';
import { Held } from './held.ts';
import { Marks } from './marks.ts';
import type { Places } from './places.ts';
import { Pools } from './pool.ts';
import { Records } from './records.ts';
import { type Owner, readSafeFile } from './safe-path.ts';
import { SessionJournal } from './session-journal.ts';
import { TrustReader } from './trust.ts';
import { TrustFloor } from './trust-floor.ts';

export interface GateOptions {
  readonly places: Places;
  readonly owner: Owner;
  readonly now: () => Date;
  readonly execution: Execution;
  /** Is shown each record when it is on the disk. */
  readonly observe?: (line: string) => void;
  /** What `hello` says that this gate is not fit for. */
  readonly notice?: string;
}

export interface Gate {
  readonly places: Places;
  readonly owner: Owner;
  readonly now: () => Date;
  readonly execution: Execution;
  readonly notice: string | undefined;
  readonly identity: HostIdentity;
  readonly trust: TrustReader;
  readonly records: Records;
  readonly marks: Marks;
  readonly held: Held;
  readonly pools: Pools;
  readonly journal: SessionJournal;
  /** Read anew for each command. Throws GateError `allowlist-refused`. */
  readonly readAllowlist: () => Allowlist;
}

/** Throws GateError, or ProtocolError where the host's own note of itself cannot be read. */
export function openGate(options: GateOptions): Gate {
  const { places, owner, now, observe } = options;
  const identity = parseHostIdentity(readSafeFile(places.identity, owner));
  const records = new Records({
    file: places.records,
    lock: places.lock,
    chain: `host/${identity.host}`,
    now,
    ...(observe === undefined ? {} : { observe }),
  });
  const floor = new TrustFloor(places.trustFloor, places.lock, records);
  return {
    places,
    owner,
    now,
    execution: options.execution,
    notice: options.notice,
    identity,
    trust: new TrustReader({ link: places.trust, identity, owner, floor }),
    records,
    marks: new Marks(places.marks),
    held: new Held(places.held, places.lock),
    pools: new Pools(places.pools, places.lock, places.passwd),
    journal: new SessionJournal(places.sessions, places.lock),
    readAllowlist: () => readAllowlist(places.allowlist, owner),
  };
}

/** The allowlist, if nobody but its owner can have written it. Throws GateError `allowlist-refused`. */
export function readAllowlist(path: string, owner: Owner): Allowlist {
  try {
    return parseAllowlist(readSafeFile(path, owner));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new GateError('allowlist-refused', `${path} is refused, so nothing runs: ${why}`, { cause: error });
  }
}
