/**
 * Logins that persons enter by `beacon ssh`, only those that the operator names (DESIGN.md section 6): accounts of the
 * machine, beside whose own keys certificates are let in. The principals script reads their names. Pure: facts in, findings
 * out.
 */
import { isName } from '@beacon/protocol/name';
import { HostError } from './error.ts';
import type { Facts } from './facts.ts';
import { defect, type Finding } from './finding.ts';
import { keepsOut } from './login-obstacles.ts';

export const PERSONAL_LOGINS = '/etc/beacon/personal-logins';

/** The file's exact text: a login on each line. */
export function formatPersonalLogins(logins: readonly string[]): string {
  return logins.map((login) => `${login}\n`).join('');
}

/** Throws HostError `usage`. */
export function parsePersonalLogin(text: string): string {
  if (isName('login', text) && !/^beacon(-|$)/.test(text)) return text;
  throw new HostError(
    'usage',
    `${JSON.stringify(text.slice(0, 80))} is no personal login: name an account of this machine that is none of Beacon's own`,
  );
}

type Settings = ReadonlyMap<string, readonly string[]>;

/** Why a login cannot be entered by certificate. `settings` are those in force for it. */
export function personalObstacles(facts: Facts, login: string, settings: Settings | undefined): Finding[] {
  const place = `account ${login}`;
  const account = facts.accounts.get(login);
  if (account === undefined)
    return [defect('personal-login-missing', place, 'there is no such account', 'make it, or leave it out')];
  const found = [...keepsOut(facts, { login, settings })];
  if (account.password?.startsWith('!') === true && settings?.get('usepam')?.[0] === 'no') {
    found.push(defect('account', place, 'it is locked, and sshd asks no PAM', `usermod -p '*' ${login}`));
  }
  return found;
}

/**
 * What Beacon's block would change beside its own certificates, by the settings without it: those of another authority
 * would be shut out, and keys let in where none are.
 */
export function otherAuthority(login: string, settings: Settings | undefined): Finding[] {
  if (settings?.get('pubkeyauthentication')?.[0] === 'no') {
    return [
      defect(
        'personal-login-keys',
        `account ${login}`,
        'sshd takes no keys for it, and would take its own keys again too',
        'leave it out, or let PubkeyAuthentication be yes for it',
      ),
    ];
  }
  const set = ['trustedusercakeys', 'authorizedprincipalscommand', 'authorizedprincipalsfile'].find(
    (keyword) => (settings?.get(keyword)?.[0] ?? 'none') !== 'none',
  );
  if (set === undefined) return [];
  return [
    defect(
      'personal-login-ca',
      `account ${login}`,
      `certificates of another authority enter it already (${set} is ${settings?.get(set)?.[0]?.slice(0, 80)}), and would not any more`,
      'leave it out, or let that not apply to it',
    ),
  ];
}
