/**
 * What comes with the archive and is put on the host: the runtime, the bundled programs, the two scripts that sshd and
 * sudo start, the units, and for a host of runners their commands. Read once; the digests go into the host's note, so that `check` finds what was changed.
 */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { compileGate } from './compiled-gate.ts';
import { HostError } from './error.ts';
import { PROGRAM_FOLDER, UNIT_FOLDER } from './plan.ts';
import { RUNNER_COMMANDS, RUNNER_LIST, RUNNER_UNIT } from './runner-files.ts';

export const PROGRAMS = ['node', 'gate.js', 'gate', 'beacon.js', 'beacon', 'principals', 'shell'] as const;
export const UNITS = ['beacon-host-sync.service', 'beacon-host-sync.timer'] as const;
/** For a host of runners. */
const RUNNER_PROGRAMS = [...RUNNER_COMMANDS, RUNNER_LIST];
/** Used where the archive lies, and put nowhere. */
const USED = 'compile.cjs';
/** Not in the archive: each machine makes its own. */
const COMPILED = 'gate.cache';

/** A file that comes with the archive: its name there, its path or its bytes, and its digest in lower-case hex. */
export interface Carried {
  readonly name: string;
  readonly from: string | Buffer;
  readonly sha256: string;
}

export interface Payload {
  readonly programs: readonly Carried[];
  /** What the machine's runtime has compiled of the gate. */
  readonly compiled: readonly Carried[];
  readonly units: readonly Carried[];
  /** All that is run or put in place of an archive, for other machines; none where a host brings its own. */
  readonly archive: readonly Carried[];
}

export interface Wanted {
  /** Of a host that asks a CA. */
  readonly sync: boolean;
  /** Of a host of runners. */
  readonly runners: boolean;
}

/** The payload in `folder`. Throws HostError `payload-missing`, `cannot-work-here`. */
export function readPayload(folder: string, wanted: Wanted): Payload {
  const read = (name: string): Carried => {
    const from = join(isPutInPlace(folder, name) ? UNIT_FOLDER : folder, name);
    if (statSync(from, { throwIfNoEntry: false })?.isFile() !== true) {
      throw new HostError(
        'payload-missing',
        `${from} is missing: call the beacon of the unpacked archive for hosts, or name its folder with --from`,
      );
    }
    return { name, from, sha256: digestOf(readFileSync(from)) };
  };
  const programs = [...PROGRAMS, ...(wanted.runners ? RUNNER_PROGRAMS : [])].map(read);
  const compile = (): Carried => {
    const from = compileGate(folder);
    return { name: COMPILED, from, sha256: digestOf(from) };
  };
  return {
    programs,
    compiled: [folder === PROGRAM_FOLDER ? read(COMPILED) : compile()],
    units: [...(wanted.sync ? UNITS : []), ...(wanted.runners ? [RUNNER_UNIT] : [])].map(read),
    archive:
      folder === PROGRAM_FOLDER
        ? []
        : [...PROGRAMS, ...UNITS, USED, ...RUNNER_PROGRAMS, RUNNER_UNIT].map(read),
  };
}

/** A host that was laid out before brings its own: its units are where systemd reads them. */
function isPutInPlace(folder: string, name: string): boolean {
  return folder === PROGRAM_FOLDER && [...UNITS, RUNNER_UNIT].includes(name);
}

/** The payload as a note has it, to compare with: where it came from is forgotten. */
export function notedPayload(digests: ReadonlyMap<string, string>): Payload {
  const noted = (names: readonly string[]): Carried[] =>
    names.flatMap((name) => {
      const sha256 = digests.get(name);
      return sha256 === undefined ? [] : [{ name, from: '', sha256 }];
    });
  return {
    programs: noted([...PROGRAMS, ...RUNNER_PROGRAMS]),
    compiled: noted([COMPILED]),
    units: noted([...UNITS, RUNNER_UNIT]),
    archive: [],
  };
}

function digestOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
