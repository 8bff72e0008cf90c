/**
 * `beacon host init` (DESIGN.md section 6): files first, sshd's drop-in last, then sshd's own test, each effective value,
 * a reload, and a look at what the login may do. Whatever fails or interrupts takes back what this call has done; a kill
 * leaves only what nobody uses yet, and a second call completes it.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { applySteps } from './apply.ts';
import { type Directive, DROP_IN } from './drop-in.ts';
import {
  askerOf,
  askHost,
  certificateSteps,
  certificatesInForce,
  type Enrolled,
  type Enrolment,
  obtainHostCertificate,
  requireOnlyCertificateAdded,
} from './enrolment.ts';
import { HostError } from './error.ts';
import { CERTIFICATE_DROP_IN, HOST_CERTIFICATE } from './host-certificate.ts';
import { writeFloor } from './install-trust.ts';
import { Journal } from './journal.ts';
import { withLock } from './lock.ts';
import type { Machine } from './machine.ts';
import { type Step, UNIT_FOLDER } from './plan.ts';
import type { Prepared } from './prepare.ts';
import { forgetUnits, reloadSshd, startTimer, stopTimer } from './reload.ts';
import { testGate } from './self-test.ts';
import { askSshd, differences } from './sshd.ts';
import { findSudoDefect } from './sudo-rule.ts';
import { takeOver } from './take-over.ts';
import { floorOf } from './trust-documents.ts';

const ENROLLED =
  'The CA has enrolled this machine all the same: the same token works here again until it expires; later, ask for one made with --replace.';

export interface InitOptions {
  /** What is done is said after it was. */
  readonly report: (line: string) => void;
  /** Stops between two steps, and takes back what was done. */
  readonly signal?: AbortSignal;
  /** Undefined where the host has no CA to enrol at, or is an image. */
  readonly enrolment?: Enrolment;
}

/**
 * Makes the machine what was prepared. Throws HostError `cannot-work-here` before anything is changed, `rolled-back` with
 * the cause after everything was taken back.
 */
export async function initHost(machine: Machine, prepared: Prepared, options: InitOptions): Promise<void> {
  requireRoot();
  const stops = prepared.findings.filter(({ kind }) => kind === 'defect');
  if (stops.length > 0) {
    const lines = stops.map(({ place, what, remedy }) => `${place}: ${what}: ${remedy}`);
    throw new HostError(
      'cannot-work-here',
      `this machine cannot be a managed host as it is:\n${lines.join('\n')}`,
    );
  }
  await withLock(machine, async () => {
    const journal = Journal.open(machine);
    if (takeOver(machine, journal, prepared.steps))
      options.report('what was written down of the set-up before is gone: what is here is taken over');
    const wasComplete = journal.isComplete;
    let enrolled: Enrolled | undefined;
    const apply = async (steps: readonly Step[]): Promise<void> => {
      for (const line of applySteps(machine, journal, steps)) {
        options.report(line);
        await nextTurn();
        if (options.signal?.aborted === true) throw new HostError('stopped', 'stopped before the end');
      }
    };
    try {
      await apply(prepared.steps);
      look(machine, prepared);
      const { enrolment } = options;
      if (enrolment !== undefined) {
        const before = askHost(machine);
        enrolled = await obtainHostCertificate(machine, prepared, enrolment, !wasComplete);
        if (enrolled.defect !== undefined) options.report(`note: ${enrolled.defect}`);
        await apply(certificateSteps(enrolled.certificate));
        if (!certificatesInForce(before).includes(HOST_CERTIFICATE))
          requireOnlyCertificateAdded(before, askHost(machine));
      }
      takeEffect(machine, prepared);
      if (enrolment !== undefined && (enrolled?.isNew === true || !wasComplete)) {
        const { wish, trust } = prepared;
        await testGate(machine, askerOf(wish, enrolment.outside, enrolment.key), wish.login, trust.root);
        options.report(`self-test: ${wish.login}@${wish.host} reached its gate`);
      }
      writeFloor(machine, floorOf(prepared.trust));
      journal.complete();
    } catch (error) {
      takeBack(machine, journal, prepared, options.report);
      if (!wasComplete) journal.forget();
      const said = error instanceof Error ? error.message : String(error);
      throw new HostError(
        'rolled-back',
        `${said}\nWhat was done has been taken back.${enrolled === undefined ? '' : `\n${ENROLLED}`}`,
        { cause: error },
      );
    }
  });
}

/** What is on the disk, before anything of it is in force. */
function look(machine: Machine, { wish, facts, dropIn, steps }: Prepared): void {
  const sshd = facts.programs.get('sshd') ?? '/usr/sbin/sshd';
  if (facts.selinux !== 'off' && facts.programs.has('restorecon') && machine.live) {
    machine.run(['restorecon', '-R', '-F', ...steps.flatMap((step) => ('path' in step ? [step.path] : []))]);
  }
  requireInForce(machine, sshd, wish.login, dropIn.directives);
  for (const login of dropIn.personal) requireInForce(machine, sshd, login, dropIn.personalDirectives);
  requireSudo(machine, wish.login);
  requireGate(machine);
}

function requireInForce(
  machine: Machine,
  sshd: string,
  login: string,
  directives: readonly Directive[],
): void {
  const inForce = askSshd(machine, sshd, login);
  if ('refusal' in inForce)
    throw new HostError('sshd-refuses', `sshd refuses its configuration: ${inForce.refusal}`);
  const wrong = differences(inForce.settings, directives).map(({ keyword }) => keyword);
  if (wrong.length === 0) return;
  throw new HostError(
    'sshd-differs',
    `for the login ${login} these are not in force: ${wrong.join(', ')}: look for who sets them`,
  );
}

function takeEffect(machine: Machine, { facts, steps }: Prepared): void {
  if (steps.some((step) => step.do === 'enable')) startTimer(machine);
  else if (steps.some(isUnit)) forgetUnits(machine);
  reloadSshd(machine, facts.programs.get('sshd') ?? '/usr/sbin/sshd');
}

function isUnit(step: Step): boolean {
  return step.do === 'copy' && step.path.startsWith(`${UNIT_FOLDER}/`);
}

function takeBack(
  machine: Machine,
  journal: Journal,
  { facts, steps }: Prepared,
  report: (line: string) => void,
): void {
  const units = steps.some((step) => step.do === 'enable' || isUnit(step));
  if (units) stopTimer(machine);
  for (const line of journal.rollBack([DROP_IN, CERTIFICATE_DROP_IN])) report(line);
  if (units) forgetUnits(machine);
  reloadSshd(machine, facts.programs.get('sshd') ?? '/usr/sbin/sshd');
}

function requireSudo(machine: Machine, login: string): void {
  const { stdout, stderr } = machine.run(['sudo', '-l', '-U', login]);
  const defect = findSudoDefect(stdout);
  if (defect === undefined) return;
  throw new HostError(
    'sudo-refuses',
    `${defect}: look at sudo -l -U ${login} ${stderr.trim().slice(0, 200)}`,
  );
}

/** The gate starts, with its runtime; what its list holds is another question. */
function requireGate(machine: Machine): void {
  const { status, stderr } = machine.run(['/usr/lib/beacon/gate', 'check']);
  if (status === 0 || status === 78) return;
  throw new HostError('step-failed', `the gate does not start: ${stderr.trim().slice(0, 300)}`);
}

export function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new HostError('not-root', 'this is done by root alone: call it with sudo');
}
