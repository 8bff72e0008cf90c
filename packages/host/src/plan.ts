/**
 * Everything that a managed host has and other machines have not, in the order in which it is made: accounts, folders,
 * programs, texts, trust, units, sudo's rule, and last sshd's drop-in, which names all of it. Pure; all of it is root's.
 */
import { dirname, join } from 'node:path';
import { formatHostIdentity } from '@beacon/protocol/trust';
import type { WantedAccount } from './accounts.ts';
import { DROP_IN, type DropIn, formatDropIn, PRINCIPALS_LOGIN, TRUST_FOLDER } from './drop-in.ts';
import type { Carried, Payload } from './payload.ts';
import { formatPersonalLogins, PERSONAL_LOGINS } from './personal-logins.ts';
import { SESSIONS } from './revoked-sessions.ts';
import type { RunnerEntries } from './runner-entries.ts';
import { RUNNER_FOLDER, RUNNER_UNIT } from './runner-files.ts';
import { CRON_FILE, CRON_TEXT, type Schedule } from './schedule.ts';
import { formatSudoRule, SUDO_RULE } from './sudo-rule.ts';
import { listTrustFiles, trustVersion, userCaFile, type VerifiedTrust } from './trust-documents.ts';
import { formatNote, NOTE, type Wish } from './wish.ts';

export type Step =
  | { readonly do: 'account'; readonly account: WantedAccount }
  | FolderStep
  | FileStep
  | CopyStep
  | EntriesStep
  | { readonly do: 'link'; readonly path: string; readonly target: string }
  /** No manager of systemd's is started for this login: see `login-manager.ts`. */
  | { readonly do: 'unmanaged'; readonly login: string }
  /** Starts it too, where systemd runs. */
  | { readonly do: 'enable'; readonly unit: string; readonly link: string };

export interface FolderStep {
  readonly do: 'folder';
  readonly path: string;
  readonly mode: number;
  /** The account whose it is; root's where undefined. The group is root's. */
  readonly owner?: string;
  /** The operator's own: left as it is where one is there. */
  readonly theirs?: true;
}

export interface FileStep {
  readonly do: 'file';
  readonly path: string;
  readonly mode: number;
  readonly content: Buffer;
  /** The operator's own: left as it is where one is there. */
  readonly theirs?: true;
}

/** A file that comes with the archive. */
export interface CopyStep {
  readonly do: 'copy';
  readonly path: string;
  readonly mode: number;
  /** Its path, or its bytes. */
  readonly from: string | Buffer;
  readonly sha256: string;
}

/** Entries of the operator's own list. */
export interface EntriesStep {
  readonly do: 'entries';
  readonly path: string;
  readonly mode: number;
  readonly entries: RunnerEntries;
}

export interface PlanInput {
  readonly wish: Wish;
  readonly payload: Payload;
  /** Undefined where they are looked at apart. */
  readonly trust: VerifiedTrust | undefined;
  readonly dropIn: DropIn;
  /** A shell that refuses logins. */
  readonly noShell: string;
  /** What calls `sync` on a host that asks a CA. */
  readonly schedule: Schedule;
  /** For a host of runners. */
  readonly runnerEntries?: RunnerEntries | undefined;
}

export const PROGRAM_FOLDER = '/usr/lib/beacon';
export const SETUP_ACCOUNT = 'beacon-setup';
export const IDENTITY = '/etc/beacon/host.json';
export const ALLOWLIST = '/etc/beacon/allowlist.json';
/** What the gate keeps: records, marks, floors. It stays when the host is taken back. */
export const GATE_STATE = '/var/lib/beacon';
const LOGIN_HOME = '/var/lib/beacon-login';
export const UNIT_FOLDER = '/etc/systemd/system';
const NOWHERE = '/nonexistent';
const EMPTY_ALLOWLIST = Buffer.from('{"version":1,"commands":{}}\n');

export function planHost(input: PlanInput): Step[] {
  const { wish, payload } = input;
  const programs = [...payload.programs, ...payload.compiled];
  const carried = [...programs, ...payload.units];
  const digests = new Map(carried.map(({ name, sha256 }) => [name, sha256]));
  const note = { ...wish, payload: digests, exempt: input.dropIn.exempt };
  const identity = formatHostIdentity({ host: wish.host, login: wish.login, rootKey: wish.rootKey });
  return [
    file(NOTE, formatNote(note), 0o600),
    ...wantedAccounts(wish, input.noShell).map((account) => ({ do: 'account', account }) as const),
    ...[PROGRAM_FOLDER, `${PROGRAM_FOLDER}/commands`, '/etc/beacon', TRUST_FOLDER, LOGIN_HOME].map((path) =>
      folder(path),
    ),
    folder(GATE_STATE, 0o700),
    // Its group is root's, so that sync needs no right beyond root's own to read and clear it.
    { do: 'folder', path: SESSIONS, mode: 0o2770, owner: PRINCIPALS_LOGIN },
    ...programs.map((one) =>
      copy(join(PROGRAM_FOLDER, one.name), one.name.includes('.') ? 0o644 : 0o755, one),
    ),
    file(IDENTITY, identity),
    { ...file(ALLOWLIST, EMPTY_ALLOWLIST), theirs: true },
    ...runnerSteps(input),
    file(PERSONAL_LOGINS, formatPersonalLogins(wish.personalLogins ?? [])),
    ...(input.trust === undefined ? [] : trustSteps(input.trust)),
    ...unitSteps(payload, input.schedule === 'systemd'),
    ...(input.schedule === 'systemd' ? [{ do: 'unmanaged', login: wish.login } as const] : []),
    ...(input.schedule === 'cron' && wish.ca !== undefined ? [file(CRON_FILE, CRON_TEXT)] : []),
    file(SUDO_RULE, formatSudoRule(wish.login), 0o440),
    { do: 'folder', path: '/etc/ssh/sshd_config.d', mode: 0o755, theirs: true },
    file(DROP_IN, formatDropIn(input.dropIn)),
  ];
}

/** The accounts of DESIGN.md section 5: the login runs nothing, set-up is apart, and each of a pool apart from the others. */
export function wantedAccounts(wish: Wish, noShell: string): WantedAccount[] {
  const system = (name: string): WantedAccount => ({ name, home: NOWHERE, shell: noShell });
  const pools = [...wish.pools].flatMap(([name, count]) =>
    Array.from({ length: count }, (_, at) => system(`${name}-${at + 1}`)),
  );
  return [
    { name: wish.login, home: LOGIN_HOME, shell: `${PROGRAM_FOLDER}/shell` },
    system(PRINCIPALS_LOGIN),
    system(SETUP_ACCOUNT),
    ...pools,
  ];
}

function trustSteps(trust: VerifiedTrust): Step[] {
  const version = trustVersion(trust);
  const place = join(TRUST_FOLDER, version);
  return [
    folder(place),
    ...listTrustFiles(trust.files).map(([name, bytes]) => file(join(place, name), bytes)),
    file(join(place, 'user_ca.pub'), userCaFile(trust.root)),
    { do: 'link', path: join(TRUST_FOLDER, 'current'), target: version },
  ];
}

function runnerSteps({ wish, runnerEntries }: PlanInput): Step[] {
  if (wish.runners === undefined) return [];
  const entries: Step[] =
    runnerEntries === undefined
      ? []
      : [{ do: 'entries', path: ALLOWLIST, mode: 0o644, entries: runnerEntries }];
  return [...entries, folder(dirname(RUNNER_FOLDER)), folder(RUNNER_FOLDER)];
}

/** The units of `sync` only where systemd calls it. */
function unitSteps(payload: Payload, isScheduler: boolean): Step[] {
  const units = payload.units.filter(({ name }) => isScheduler || name === RUNNER_UNIT);
  return units.flatMap((one): Step[] => {
    const step = copy(join(UNIT_FOLDER, one.name), 0o644, one);
    const link = join(UNIT_FOLDER, 'timers.target.wants', one.name);
    return one.name.endsWith('.timer') ? [step, { do: 'enable', unit: one.name, link }] : [step];
  });
}

function copy(path: string, mode: number, { from, sha256 }: Carried): CopyStep {
  return { do: 'copy', path, mode, from, sha256 };
}

function folder(path: string, mode = 0o755): Step {
  return { do: 'folder', path, mode };
}

function file(path: string, content: string | Buffer, mode = 0o644): FileStep {
  return { do: 'file', path, mode, content: Buffer.from(content) };
}

/** What is done, as a person would say it. */
export function describeStep(step: Step): string {
  switch (step.do) {
    case 'account':
      return `account ${step.account.name}`;
    case 'folder':
      return `folder ${step.path}`;
    case 'file':
      return `file ${step.path}`;
    case 'copy':
      return `file ${step.path}`;
    case 'entries':
      return `runner commands in ${step.path}`;
    case 'link':
      return `link ${step.path} to ${step.target}`;
    case 'enable':
      return `unit ${step.unit}`;
    case 'unmanaged':
      return `no user manager for ${step.login}`;
  }
}
