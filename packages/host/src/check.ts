/**
 * `beacon host check`: read-only, compares what a managed host must have with what there is, and names each defect with
 * its remedy. Nothing is believed because it was so when `init` ended.
 */
import { dirname, join } from 'node:path';
import { parseAllowlist } from '@beacon/protocol/allowlist';
import { ProtocolError } from '@beacon/protocol/error';
import { isDone, ownerOf } from './apply.ts';
import { checkAccounts } from './check-accounts.ts';
import { checkHostCertificate, presentCertificateSteps } from './check-host-certificate.ts';
import { checkLabels } from './check-labels.ts';
import { checkReload } from './check-reload.ts';
import { checkSync } from './check-sync.ts';
import { checkTrust } from './check-trust.ts';
import { DROP_IN, type DropIn, dropInDirectives, personalDirectives } from './drop-in.ts';
import { differenceFindings } from './drop-in-trial.ts';
import { readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import { type Facts, lookAt, statOf } from './facts.ts';
import { defect, type Finding, INIT_AGAIN, WRITABLE_BY_OTHERS } from './finding.ts';
import { Journal } from './journal.ts';
import { managerLinks } from './login-manager.ts';
import type { Machine } from './machine.ts';
import { readNote } from './note.ts';
import { findObstacles } from './obstacles.ts';
import { notedPayload } from './payload.ts';
import { missingExemptions } from './penalty-exemption.ts';
import { personalObstacles } from './personal-logins.ts';
import { ALLOWLIST, type EntriesStep, PROGRAM_FOLDER, planHost, type Step } from './plan.ts';
import { findNoShell } from './prepare.ts';
import { changedEntries, mergeEntries, type RunnerEntries } from './runner-entries.ts';
import { localize, RUNNER_LIST } from './runner-files.ts';
import { findSchedule } from './schedule.ts';
import { askSshd, unprintedDirectives } from './sshd.ts';
import { findSudoDefect } from './sudo-rule.ts';
import { NOTE, type Wish } from './wish.ts';

/** Everything that is wrong. Throws HostError `not-a-host`, `state-damaged`. */
export function checkHost(machine: Machine, now: Date): Finding[] {
  const noted = readNote(machine);
  if (noted === undefined) {
    throw new HostError('not-a-host', 'this machine is no managed host: make it one with beacon host init');
  }
  const facts = lookAt(machine);
  const { trust, findings } = checkTrust(machine, noted, now);
  const userCa = trust?.root.userCa ?? [];
  const sshd = facts.programs.get('sshd');
  const inForce = sshd === undefined ? undefined : askSshd(machine, sshd, noted.login);
  const settings = inForce !== undefined && 'settings' in inForce ? inForce.settings : undefined;
  const directives = dropInDirectives(userCa, unprintedDirectives(settings, dropInDirectives(userCa, [])));
  const dropIn = {
    login: noted.login,
    directives,
    personal: noted.personalLogins ?? [],
    personalDirectives: personalDirectives(userCa),
    exempt: noted.exempt,
  };
  const plan = planHost({
    wish: noted,
    payload: notedPayload(noted.payload),
    trust: undefined,
    dropIn,
    noShell: findNoShell(machine),
    schedule: findSchedule(facts),
    runnerEntries: presentEntries(machine, noted),
  }).filter(
    (step) => !('path' in step && (step.path === NOTE || (step.path === DROP_IN && trust === undefined))),
  );
  const steps = [...plan, ...presentCertificateSteps(machine)];
  return [
    ...(Journal.read(machine)?.isComplete === true
      ? []
      : [defect('unfinished', 'beacon host init', 'it was broken off', INIT_AGAIN)]),
    ...findObstacles(facts, { login: noted.login, userCa, settings }),
    ...steps.flatMap((step) => checkStep(machine, step)),
    ...checkFoldersAbove(machine, steps),
    ...checkAccounts(machine, facts, noted, now),
    ...findings,
    ...checkHostCertificate(machine, noted, settings, trust, now),
    ...checkAllowlist(machine),
    ...(inForce !== undefined && 'refusal' in inForce
      ? [
          defect(
            'sshd-broken',
            'sshd',
            `it refuses its configuration: ${inForce.refusal}`,
            'put that right: sshd -t',
          ),
        ]
      : []),
    ...(inForce === undefined || trust === undefined
      ? []
      : differenceFindings(machine, noted.login, inForce, directives)),
    ...(sshd === undefined ? [] : checkPersonalLogins(machine, facts, sshd, dropIn)),
    ...missingExemptions(settings, noted.brokerAddresses ?? []),
    ...checkReload(machine, settings),
    ...checkLabels(machine, facts),
    ...checkSudo(machine, noted.login),
    ...checkSync(machine, facts, noted, now),
  ];
}

function checkStep(machine: Machine, step: Step): Finding[] {
  if (step.do === 'entries') return checkEntries(machine, step);
  if (step.do === 'account' || isDone(machine, step)) return [];
  if (step.do === 'enable') {
    return [defect('unit-disabled', step.unit, 'it is not enabled', `systemctl enable --now ${step.unit}`)];
  }
  if (step.do === 'unmanaged') {
    // That the account is missing is said apart.
    if (managerLinks(machine, step.login) === undefined) return [];
    const what = 'systemd starts a user manager for it at each login, which nothing needs';
    return [defect('user-manager', step.login, what, INIT_AGAIN)];
  }
  const { path } = step;
  const stats = statOf(machine, path);
  if (stats === undefined) return [defect('missing', path, 'it is not there', INIT_AGAIN)];
  if (step.do === 'link') return [defect('differs', path, `it is no link to ${step.target}`, INIT_AGAIN)];
  const isKind = step.do === 'folder' ? stats.isDirectory() : stats.isFile();
  if (!isKind)
    return [
      defect(
        'wrong-kind',
        path,
        `it is no ${step.do === 'folder' ? 'folder' : 'regular file'}`,
        `move it away, and ${INIT_AGAIN}`,
      ),
    ];
  const found: Finding[] = [];
  const owner = step.do === 'folder' ? (step.owner ?? 'root') : 'root';
  const uid = step.do === 'folder' ? ownerOf(machine, step) : 0;
  if (Number(stats.uid) !== uid || Number(stats.gid) !== 0) {
    const what = `it belongs to ${stats.uid}:${stats.gid} and not to ${owner}`;
    found.push(defect('owner', path, what, `chown ${owner}:root ${path}`));
  }
  const mode = Number(stats.mode) & 0o7777;
  if (mode !== step.mode) {
    const [is, wants] = [mode, step.mode].map((value) => value.toString(8).padStart(4, '0'));
    found.push(defect('mode', path, `its mode is ${is} and not ${wants}`, `chmod ${wants} ${path}`));
  }
  // Neither owner nor mode: then it is what stands in it.
  if (found.length === 0)
    found.push(
      defect('differs', path, 'it is not what init put there', `find out who changed it, and ${INIT_AGAIN}`),
    );
  return found;
}

/** By the host's own copy of what ships; whether that is right is another step's. */
function presentEntries(machine: Machine, { runners }: Wish): RunnerEntries | undefined {
  const shipped = readIfThere(machine.at(join(PROGRAM_FOLDER, RUNNER_LIST)));
  return runners === undefined || shipped === undefined
    ? undefined
    : { shipped: localize(shipped, runners), before: undefined };
}

function checkEntries(machine: Machine, step: EntriesStep): Finding[] {
  const present = readIfThere(machine.at(step.path));
  if (present === undefined) return [];
  try {
    const missing = mergeEntries(present, step.entries).changed;
    return [
      ...missing.map((name) => defect('runner-entry', step.path, `it has no ${name}`, INIT_AGAIN)),
      ...changedEntries(step.path, present, step.entries.shipped),
    ];
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return [defect('runner-entry', step.path, error.message, INIT_AGAIN)];
  }
}

/** Who may write a folder above may replace what is in it. */
function checkFoldersAbove(machine: Machine, steps: readonly Step[]): Finding[] {
  const own = new Set(steps.flatMap((step) => ('path' in step ? [step.path] : [])));
  const above = new Set<string>();
  for (const path of own) {
    for (let folder = dirname(path); folder !== '/'; folder = dirname(folder))
      if (!own.has(folder)) above.add(folder);
  }
  return [...above].sort().flatMap((path) => {
    const stats = statOf(machine, path);
    if (stats === undefined || stats.isSymbolicLink()) return [];
    if (Number(stats.uid) !== 0)
      return [defect('owner', path, `it belongs to ${stats.uid} and not to root`, `chown root ${path}`)];
    if ((Number(stats.mode) & WRITABLE_BY_OTHERS) !== 0) {
      return [defect('mode', path, 'others than root can write it', `chmod go-w ${path}`)];
    }
    return [];
  });
}

function checkAllowlist(machine: Machine): Finding[] {
  const bytes = readIfThere(machine.at(ALLOWLIST));
  if (bytes === undefined) return [];
  try {
    parseAllowlist(bytes);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return [defect(error.code, ALLOWLIST, error.message, 'put it right: the gate runs nothing until then')];
  }
  const { status, stdout, stderr } = machine.run(['/usr/lib/beacon/gate', 'check']);
  if (status === 0) return [];
  const lines = stdout.split('\n').filter((line) => line.startsWith('DEFECT '));
  if (lines.length === 0)
    return [
      defect('gate', '/usr/lib/beacon/gate', `it does not start: ${stderr.trim().slice(0, 200)}`, INIT_AGAIN),
    ];
  return lines.map((line) =>
    defect('command', ALLOWLIST, line.slice('DEFECT '.length), 'put that right, or take the command out'),
  );
}

function checkPersonalLogins(machine: Machine, facts: Facts, sshd: string, dropIn: DropIn): Finding[] {
  return dropIn.personal.flatMap((login) => {
    const inForce = askSshd(machine, sshd, login);
    const settings = 'settings' in inForce ? inForce.settings : undefined;
    return [
      ...personalObstacles(facts, login, settings),
      ...differenceFindings(machine, login, inForce, dropIn.personalDirectives),
    ];
  });
}

function checkSudo(machine: Machine, login: string): Finding[] {
  const { stdout } = machine.run(['sudo', '-l', '-U', login]);
  const found = findSudoDefect(stdout);
  return found === undefined
    ? []
    : [
        defect(
          'sudo',
          'sudo',
          found,
          'look for a later file or rule: later ones of sudo win (sudo -l -U beacon)',
        ),
      ];
}
