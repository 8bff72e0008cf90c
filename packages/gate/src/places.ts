/** Where a gate finds what it reads and keeps what it writes (DESIGN.md section 6). Names only; nothing is opened here. */
import { join } from 'node:path';

export interface Places {
  /** Which host this is: `HostIdentity` of the protocol. */
  readonly identity: string;
  readonly allowlist: string;
  /** The link to the folder of the present trust documents. */
  readonly trust: string;
  /** The file of the record chain. */
  readonly records: string;
  /** What was the newest trust that a gate has used. */
  readonly trustFloor: string;
  /** One file for each certificate that opened a session, and for each command that was started. */
  readonly marks: string;
  /** One file for each session in which something was started, until it is settled. */
  readonly sessions: string;
  /** Which account of a pool belongs to which value. */
  readonly pools: string;
  /** The file whose lock guards all of the above for one small change. */
  readonly lock: string;
  /** What live gates hold; gone after a restart of the machine. */
  readonly held: string;
  /** How transient units ended; gone after a restart of the machine. */
  readonly results: string;
  readonly passwd: string;
}

/** The places of a machine, or of the same tree below `prefix`. */
export function placesBelow(prefix: string): Places {
  const at = (path: string): string => join('/', prefix, path);
  return {
    identity: at('etc/beacon/host.json'),
    allowlist: at('etc/beacon/allowlist.json'),
    trust: at('etc/beacon/trust/current'),
    records: at('var/lib/beacon/records/gate.ndjson'),
    trustFloor: at('var/lib/beacon/trust-floor.json'),
    marks: at('var/lib/beacon/marks'),
    sessions: at('var/lib/beacon/sessions'),
    pools: at('var/lib/beacon/pools'),
    lock: at('var/lib/beacon/lock'),
    held: at('run/beacon/held'),
    results: at('run/beacon/results'),
    passwd: '/etc/passwd',
  };
}
