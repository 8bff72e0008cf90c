/**
 * Who keeps Beacon's login out of a machine, or changes what it does there: sshd's own lists, rules of pam_access, and
 * settings for every login. Pure: facts in, findings out.
 */
import type { Facts } from './facts.ts';
import { defect, type Finding, note } from './finding.ts';

/** What the trust root's CA keys are, as far as it matters here. */
export interface LoginToCheck {
  readonly login: string;
  readonly userCa: readonly string[];
  /** What is in force for the login, where sshd could be asked. */
  readonly settings: ReadonlyMap<string, readonly string[]> | undefined;
}

/** What stands between Beacon's own login and its gate. */
export function loginObstacles(facts: Facts, asked: LoginToCheck): Finding[] {
  return [...nologinObstacles(facts), ...keepsOut(facts, asked), ...environmentObstacles(asked)];
}

function nologinObstacles(facts: Facts): Finding[] {
  const found: Finding[] = [];
  if (facts.nologin !== undefined) {
    found.push(
      defect(
        'nologin',
        facts.nologin,
        'it keeps everybody but root out',
        `remove it when maintenance is over: rm ${facts.nologin}`,
      ),
    );
  }
  return found;
}

/** Who keeps a login out that sshd would let in by its certificate. */
export function keepsOut(facts: Facts, { login, settings }: Omit<LoginToCheck, 'userCa'>): Finding[] {
  const found: Finding[] = [];
  const rule = accessRuleFor(facts.accessRules ?? [], login);
  if (rule !== undefined) {
    found.push(
      defect(
        'pam-access',
        '/etc/security/access.conf',
        `the rule "${rule.slice(0, 60)}" refuses the login`,
        `put above it: +:${login}:ALL`,
      ),
    );
  }
  for (const line of facts.pamOthers) {
    found.push(
      note(
        'pam',
        '/etc/pam.d/sshd',
        `it asks ${line.slice(0, 100)}, which may keep ${login} out`,
        `look whether its rules let ${login} in`,
      ),
    );
  }
  if (settings === undefined) return found;
  const own = facts.accounts.get(login);
  // An account that is not there yet will have a group of its own name.
  const groups = own === undefined ? [login] : [own.group ?? '', ...own.groups];
  const list = (keyword: string): string[] =>
    (settings.get(keyword) ?? []).flatMap((line) => line.split(' '));
  const users = list('allowusers');
  if (users.length > 0 && !users.some((pattern) => matches(pattern.split('@')[0] ?? '', login))) {
    found.push(
      defect(
        'allow-users',
        'AllowUsers',
        `sshd lets in only ${users.join(' ').slice(0, 100)}`,
        `add to sshd's configuration: AllowUsers ${login}`,
      ),
    );
  }
  if (list('denyusers').some((pattern) => matches(pattern.split('@')[0] ?? '', login))) {
    found.push(
      defect('deny-users', 'DenyUsers', 'sshd keeps the login out', `take ${login} out of DenyUsers`),
    );
  }
  const allowed = list('allowgroups');
  if (allowed.length > 0 && !allowed.some((pattern) => groups.some((group) => matches(pattern, group)))) {
    found.push(
      defect(
        'allow-groups',
        'AllowGroups',
        `sshd lets in only ${allowed.join(' ').slice(0, 100)}`,
        `add to sshd's configuration: AllowGroups ${login}`,
      ),
    );
  }
  if (list('denygroups').some((pattern) => groups.some((group) => matches(pattern, group)))) {
    found.push(
      defect(
        'deny-groups',
        'DenyGroups',
        "sshd keeps the login's group out",
        `take the group of ${login} out of DenyGroups`,
      ),
    );
  }
  const algorithms =
    settings.get('pubkeyacceptedalgorithms')?.[0] ?? settings.get('pubkeyacceptedkeytypes')?.[0];
  if (algorithms !== undefined && !algorithms.includes('ssh-ed25519-cert-v01@openssh.com')) {
    found.push(
      defect(
        'accepted-algorithms',
        'PubkeyAcceptedAlgorithms',
        'sshd does not accept Ed25519 certificates',
        'add ssh-ed25519-cert-v01@openssh.com to PubkeyAcceptedAlgorithms',
      ),
    );
  }
  return found;
}

function environmentObstacles({ settings }: LoginToCheck): Finding[] {
  const found: Finding[] = [];
  if (settings === undefined) return found;
  if ((settings.get('setenv') ?? []).length > 0) {
    found.push(
      defect(
        'set-env',
        'SetEnv',
        "sshd puts variables into every login's environment, the shell of Beacon's login too",
        'put SetEnv into Match blocks of those who need it',
      ),
    );
  }
  if ((settings.get('permituserenvironment')?.[0] ?? 'no') !== 'no') {
    found.push(
      defect(
        'user-environment',
        'PermitUserEnvironment',
        'it is on: a file in a home sets variables of a login',
        "put into sshd's configuration: PermitUserEnvironment no",
      ),
    );
  }
  return found;
}

/** The first rule that is about the login, where it refuses. */
function accessRuleFor(rules: readonly string[], login: string): string | undefined {
  const rule = rules.find((line) => {
    const [, who = ''] = line.split(':');
    const [named = '', except = ''] = who.split(/\s+EXCEPT\s+/);
    const includes = (list: string): boolean =>
      list.split(/[\s,]+/).some((one) => one === 'ALL' || one === login || one === `(${login})`);
    return includes(named) && !(except !== '' && includes(except));
  });
  return rule?.trim().startsWith('-') === true ? rule : undefined;
}

/** sshd's own patterns: `*` and `?`. */
function matches(pattern: string, text: string): boolean {
  const form = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${form}$`).test(text);
}
