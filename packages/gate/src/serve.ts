/**
 * One gate from its start to its exit status (DESIGN.md section 5): the door, then admission, then the session. Refusals
 * before the session are recorded too, without anything that a certificate that was not verified says of itself.
 * 0 when the session ended in order, 77 refused, 78 bad allowlist, 75 busy.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { admit } from './admit.ts';
import { createControlGroups, findControlGroups } from './control-group.ts';
import { GateError, refusalOf } from './error.ts';
import { EventOutput } from './event-output.ts';
import type { Execution } from './execution.ts';
import { type Gate, openGate } from './gate.ts';
import { leaveGuard } from './guard.ts';
import { LineInput } from './line-input.ts';
import { withLock } from './lock.ts';
import { type Places, placesBelow } from './places.ts';
import { recover } from './recover.ts';
import { createRootlessProcesses } from './rootless-process.ts';
import { openSession } from './session.ts';
import { requireSshd, takeCertificate } from './sshd-door.ts';
import { openSyslog, type Syslog } from './syslog.ts';
import { createTransientUnits } from './transient-unit.ts';

export interface ServeOptions {
  /** Everything below this folder, as whoever runs it, without root: for demos. Undefined on a host. */
  readonly rootless: string | undefined;
  /** The program and arguments that `recover` in the same way. */
  readonly recover: readonly string[];
}

const IN_ORDER = 0;
const REFUSED = 77;
const BAD_ALLOWLIST = 78;
const BUSY = 75;

const NOTICE = 'NOT FOR PRODUCTION: this gate is not root; its commands run as whoever started it, unlimited';

/** Serves the one session that sshd has opened, over standard input and output. */
export async function serve(options: ServeOptions): Promise<number> {
  const output = new EventOutput(process.stdout);
  const syslog = openSyslog();
  let release = (): void => undefined;
  try {
    const blob = takeCertificate(process.env);
    if (options.rootless === undefined) requireSshd(process.ppid);
    const gate = open(options.rootless, syslog);
    const input = new LineInput(process.stdin);
    for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const) process.on(signal, () => input.close());
    const guard = () => leaveGuard(options.recover);
    // The lock is taken once for all that entering writes.
    const session = withLock(gate.places.lock, () => {
      try {
        gate.readAllowlist();
        release = gate.held.takePlace();
        gate.marks.sweep(gate.now());
        return openSession({ gate, admission: admit(blob, gate), input, output, guard });
      } catch (error) {
        recordRefusal(gate, blob, error);
        throw error;
      }
    });
    const why = await session.run();
    return why === 'ended' || why === 'cancelled' ? IN_ORDER : REFUSED;
  } catch (error) {
    const { code, reason } = refusalOf(error);
    output.write({ event: 'refused', code, reason });
    if (code === 'internal')
      syslog.write(`the gate failed: ${error instanceof Error ? error.stack : 'unknown'}`);
    return statusOf(code);
  } finally {
    release();
    syslog.close();
    await output.end();
  }
}

/** Settles what dead gates left, and says how many sessions there were. */
export async function recoverAll(rootless: string | undefined): Promise<number> {
  const syslog = openSyslog();
  try {
    return await recover(open(rootless, syslog));
  } finally {
    syslog.close();
  }
}

function open(rootless: string | undefined, syslog: Syslog): Gate {
  const uid = process.getuid?.() ?? -1;
  if ((uid === 0) !== (rootless === undefined)) {
    throw new GateError(
      'usage',
      rootless === undefined
        ? 'the gate runs as root: it is entered by ssh; for a demo without root see --rootless'
        : 'whoever is root uses the gate as on a host, not --rootless',
    );
  }
  process.umask(0o077);
  const places = placesBelow(rootless ?? '/');
  return openGate({
    places,
    owner: { uid, below: rootless ?? '/' },
    now: () => new Date(),
    execution: rootless === undefined ? chooseExecution(places) : createRootlessProcesses(places.held),
    ...(rootless === undefined ? { observe: syslog.write } : { notice: NOTICE }),
  });
}

function chooseExecution(places: Places): Execution {
  if (existsSync('/run/systemd/system')) return createTransientUnits(places.results);
  const groups = findControlGroups();
  if (groups === undefined) {
    throw new GateError(
      'cannot-start',
      'this host has neither systemd nor control groups (v2): nothing can be run safely',
    );
  }
  return createControlGroups(groups);
}

/** The certificate stands in the record by the digest of its bytes: what it says of itself was not verified. */
function recordRefusal(gate: Gate, blob: Buffer, error: unknown): void {
  const certificate = createHash('sha256').update(blob).digest('hex');
  try {
    gate.records.append({ kind: 'session-refused', facts: { code: refusalOf(error).code, certificate } });
  } catch {
    // Nothing has run; the answer still says why.
  }
}

function statusOf(code: string): number {
  if (code === 'allowlist-refused') return BAD_ALLOWLIST;
  return code === 'too-many-gates' ? BUSY : REFUSED;
}
