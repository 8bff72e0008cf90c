/**
 * `beacon host check`: read-only, compares what a managed host must have with what there is, and names each defect with
 * its remedy. Nothing is believed because it was so when `init` ended.
 */
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseAllowlist } from '@beacon/protocol/allowlist';
import { ProtocolError } from '@beacon/protocol/error';
import { hasGroup } from './accounts.ts';
import { isDone } from './apply.ts';
import { DROP_IN, dropInDirectives, TRUST_FOLDER } from './drop-in.ts';
import { readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import { type Facts, lookAt, statOf } from './facts.ts';
import { Journal } from './journal.ts';
import type { Machine } from './machine.ts';
import { readNote } from './note.ts';
import { defect, type Finding, findObstacles, note } from './obstacles.ts';
import { notedPayload } from './payload.ts';
import { ALLOWLIST, planHost, type Step, wantedAccounts } from './plan.ts';
import { differenceFinding, findNoShell } from './prepare.ts';
import { TIMER } from './reload.ts';
import { askSshd, differences, unprintedDirectives } from './sshd.ts';
import { findSudoDefect } from './sudo-rule.ts';
import {
  readTrustFolder,
  requireFresh,
  userCaFile,
  type VerifiedTrust,
  verifyTrust,
} from './trust-documents.ts';
import { NOTE, type Note } from './wish.ts';

const AGAIN = 'run beacon host init again';
const WRITABLE_BY_OTHERS = 0o022;
const WARN_AT = 0.75;

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
  const steps = planHost({
    wish: noted,
    payload: notedPayload(noted.payload),
    trust: undefined,
    directives,
    noShell: findNoShell(machine),
    systemd: facts.systemd,
  }).filter(
    (step) => !('path' in step && (step.path === NOTE || (step.path === DROP_IN && trust === undefined))),
  );
  return [
    ...(Journal.read(machine)?.isComplete === true
      ? []
      : [defect('unfinished', 'beacon host init', 'it was broken off', AGAIN)]),
    ...findObstacles(facts, { login: noted.login, userCa, settings }),
    ...steps.flatMap((step) => checkStep(machine, step)),
    ...checkFoldersAbove(machine, steps),
    ...checkAccounts(machine, facts, noted, now),
    ...findings,
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
    ...(settings === undefined || trust === undefined
      ? []
      : differences(settings, directives).map(({ keyword, expected, found }) =>
          differenceFinding(machine, keyword, expected, found),
        )),
    ...checkSudo(machine, noted.login),
    ...checkTimer(machine, facts, noted),
  ];
}

function checkStep(machine: Machine, step: Step): Finding[] {
  if (step.do === 'account' || isDone(machine, step)) return [];
  if (step.do === 'enable') {
    return [defect('unit-disabled', step.unit, 'it is not enabled', `systemctl enable --now ${step.unit}`)];
  }
  const { path } = step;
  const stats = statOf(machine, path);
  if (stats === undefined) return [defect('missing', path, 'it is not there', AGAIN)];
  if (step.do === 'link') return [defect('differs', path, `it is no link to ${step.target}`, AGAIN)];
  const isKind = step.do === 'folder' ? stats.isDirectory() : stats.isFile();
  if (!isKind)
    return [
      defect(
        'wrong-kind',
        path,
        `it is no ${step.do === 'folder' ? 'folder' : 'regular file'}`,
        `move it away, and ${AGAIN}`,
      ),
    ];
  const found: Finding[] = [];
  if (Number(stats.uid) !== 0 || Number(stats.gid) !== 0) {
    found.push(
      defect(
        'owner',
        path,
        `it belongs to ${stats.uid}:${stats.gid} and not to root`,
        `chown root:root ${path}`,
      ),
    );
  }
  const mode = Number(stats.mode) & 0o7777;
  if (mode !== step.mode) {
    const [is, wants] = [mode, step.mode].map((value) => value.toString(8).padStart(4, '0'));
    found.push(defect('mode', path, `its mode is ${is} and not ${wants}`, `chmod ${wants} ${path}`));
  }
  // Neither owner nor mode: then it is what stands in it.
  if (found.length === 0)
    found.push(
      defect('differs', path, 'it is not what init put there', `find out who changed it, and ${AGAIN}`),
    );
  return found;
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

function checkAccounts(machine: Machine, { accounts }: Facts, noted: Note, now: Date): Finding[] {
  const today = now.getTime() / 86_400_000;
  return wantedAccounts(noted, findNoShell(machine)).flatMap(({ name, home, shell }) => {
    const account = accounts.get(name);
    const place = `account ${name}`;
    if (account === undefined) return [defect('account-missing', place, 'it is not there', AGAIN)];
    const found: Finding[] = [];
    const wrong = (what: string, remedy: string): void =>
      void found.push(defect('account', place, what, remedy));
    if (account.uid === 0) wrong('it is root under another name', `remove it, and ${AGAIN}`);
    const shares = [...accounts.values()].filter((one) => one.uid === account.uid && one.name !== name);
    if (shares.length > 0)
      wrong(
        `it shares its uid with ${shares.map((one) => one.name).join(', ')}`,
        'give the other another uid',
      );
    const isLocked = account.password?.startsWith('!') === true;
    if (isLocked) wrong('it is locked: sshd refuses it where PAM is off', `usermod -p '*' ${name}`);
    else if (account.password !== '*') wrong('its password field is not *', `usermod -p '*' ${name}`);
    if (account.expiresDay !== undefined && account.expiresDay <= today)
      wrong('it has expired', `chage -E -1 ${name}`);
    if (account.shell !== shell) wrong(`its shell is ${account.shell}`, `usermod -s ${shell} ${name}`);
    if (account.home !== home) wrong(`its home is ${account.home}`, `usermod -d ${home} ${name}`);
    if (account.groups.length > 0)
      wrong(`it is in the groups ${account.groups.join(', ')}`, `usermod -G '' ${name}`);
    if (!hasGroup(machine, name))
      wrong('it has no group of its own name', `groupadd --system ${name}; usermod -g ${name} ${name}`);
    if (shell.endsWith('/shell') && listFolder(machine, home).length > 0) {
      wrong(
        `there is something in its home: ${listFolder(machine, home).slice(0, 3).join(', ')}`,
        `look at ${home}, and empty it`,
      );
    }
    return found;
  });
}

function checkTrust(
  machine: Machine,
  noted: Note,
  now: Date,
): { readonly trust: VerifiedTrust | undefined; readonly findings: Finding[] } {
  const current = join(TRUST_FOLDER, 'current');
  const remedy =
    noted.ca === undefined ? 'give new documents: beacon host init --trust FOLDER' : 'run beacon host sync';
  try {
    const link = statOf(machine, current);
    if (link === undefined)
      return {
        trust: undefined,
        findings: [defect('trust-missing', current, 'there are no trust documents', remedy)],
      };
    if (!link.isSymbolicLink())
      return { trust: undefined, findings: [defect('wrong-kind', current, 'it is no link', remedy)] };
    const trust = verifyTrust(readTrustFolder(machine.at(current)), {
      host: noted.host,
      login: noted.login,
      rootKey: noted.rootKey,
    });
    const findings = trustFileFindings(machine, current, trust, remedy);
    findings.push(...floorFindings(machine, trust, remedy));
    for (const [name, { issued, expires }] of [
      ['root', trust.root],
      ['status', trust.status],
    ] as const) {
      const age = (now.getTime() - issued.getTime()) / (expires.getTime() - issued.getTime());
      if (age >= WARN_AT && age < 1)
        findings.push(
          note(
            'trust-old',
            `trust ${name}`,
            `it expires at ${expires.toISOString()}`,
            name === 'root' ? 'sign a new root' : remedy,
          ),
        );
    }
    try {
      requireFresh(trust, now);
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      findings.push(
        defect(
          error.code,
          'trust documents',
          error.message,
          error.code === 'clock-wrong' ? 'set the clock' : remedy,
        ),
      );
    }
    return { trust, findings };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return { trust: undefined, findings: [defect(error.code, current, error.message, remedy)] };
  }
}

function trustFileFindings(
  machine: Machine,
  current: string,
  trust: VerifiedTrust,
  remedy: string,
): Finding[] {
  const folder = machine.at(current);
  const findings: Finding[] = [];
  if (readIfThere(join(folder, 'user_ca.pub'))?.equals(userCaFile(trust.root)) !== true) {
    findings.push(
      defect('differs', `${current}/user_ca.pub`, 'it does not hold the CA keys of the trust root', remedy),
    );
  }
  for (const name of ['.', ...readdirSync(folder)]) {
    const stats = statOf(machine, name === '.' ? `${current}/.` : `${current}/${name}`);
    if (stats === undefined) continue;
    const path = name === '.' ? current : `${current}/${name}`;
    if (Number(stats.uid) !== 0)
      findings.push(defect('owner', path, `it belongs to ${stats.uid}`, `chown root:root ${path}`));
    if ((Number(stats.mode) & WRITABLE_BY_OTHERS) !== 0)
      findings.push(defect('mode', path, 'others than root can write it', `chmod go-w ${path}`));
  }
  return findings;
}

/** The newest documents that a gate of this host has used. */
function floorFindings(machine: Machine, { root, status }: VerifiedTrust, remedy: string): Finding[] {
  const text = readIfThere(machine.at('/var/lib/beacon/trust-floor.json'))?.toString('utf8') ?? '';
  const [, atLeast] = /"root":(\d+)/.exec(text) ?? [];
  const [, atLeastStatus] = /"status":(\d+)/.exec(text) ?? [];
  if (atLeast === undefined || atLeastStatus === undefined) return [];
  const isOlder =
    root.version < Number(atLeast) ||
    (root.version === Number(atLeast) && status.version < Number(atLeastStatus));
  return isOlder
    ? [
        defect(
          'trust-went-back',
          'trust documents',
          `the gate has used root ${atLeast} and status ${atLeastStatus} already`,
          `find out who put older ones there; then ${remedy}`,
        ),
      ]
    : [];
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
      defect('gate', '/usr/lib/beacon/gate', `it does not start: ${stderr.trim().slice(0, 200)}`, AGAIN),
    ];
  return lines.map((line) =>
    defect('command', ALLOWLIST, line.slice('DEFECT '.length), 'put that right, or take the command out'),
  );
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

function checkTimer(machine: Machine, { systemd, live }: Facts, noted: Note): Finding[] {
  if (!live || !systemd || noted.ca === undefined) return [];
  if (machine.run(['systemctl', 'is-active', '--quiet', TIMER]).status === 0) return [];
  return [
    defect('timer', TIMER, 'it does not run: trust would become stale', `systemctl enable --now ${TIMER}`),
  ];
}

function listFolder(machine: Machine, path: string): string[] {
  try {
    return readdirSync(machine.at(`${path}/.`));
  } catch {
    return [];
  }
}
