/**
 * What comes with the archive and is put on the host: the runtime, the bundled programs, the two scripts that sshd and
 * sudo start, and the units. Read once; the digests go into the host's note, so that `check` finds what was changed.
 */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { HostError } from './error.ts';

export const PROGRAMS = ['node', 'gate.js', 'gate.cache', 'gate', 'beacon', 'principals', 'shell'] as const;
export const UNITS = ['beacon-host-sync.service', 'beacon-host-sync.timer'] as const;

/** A file that comes with the archive: its name there, its path, and its digest in lower-case hex. */
export interface Carried {
  readonly name: string;
  readonly from: string;
  readonly sha256: string;
}

export interface Payload {
  readonly programs: readonly Carried[];
  readonly units: readonly Carried[];
}

/** The payload in `folder`. Units are wanted by a host that asks a CA. Throws HostError `payload-missing`. */
export function readPayload(folder: string, withUnits: boolean): Payload {
  const read = (name: string): Carried => {
    const from = join(folder, name);
    if (statSync(from, { throwIfNoEntry: false })?.isFile() !== true) {
      throw new HostError(
        'payload-missing',
        `${from} is missing: call the beacon of the unpacked archive for hosts, or name its folder with --from`,
      );
    }
    return { name, from, sha256: createHash('sha256').update(readFileSync(from)).digest('hex') };
  };
  return { programs: PROGRAMS.map(read), units: (withUnits ? UNITS : []).map(read) };
}

/** The payload as a note has it, to compare with: where it came from is forgotten. */
export function notedPayload(digests: ReadonlyMap<string, string>): Payload {
  const noted = (names: readonly string[]): Carried[] =>
    names.flatMap((name) => {
      const sha256 = digests.get(name);
      return sha256 === undefined ? [] : [{ name, from: '', sha256 }];
    });
  return { programs: noted(PROGRAMS), units: noted(UNITS) };
}
