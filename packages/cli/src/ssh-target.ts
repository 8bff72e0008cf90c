/** `[LOGIN@]HOST`, and which login is meant when none is named: the host's only one, never a guess. */
import type { CaApi } from '@beacon/client';
import { isName, nameForms } from '@beacon/protocol/name';
import { CliError, usageError } from './error.ts';

export interface SshTarget {
  readonly host: string;
  readonly login?: string;
}

/** Takes `[LOGIN@]HOST` apart. Throws CliError `usage`. */
export function parseSshTarget(text: string): SshTarget {
  const at = text.indexOf('@');
  const host = text.slice(at + 1);
  if (!isName('host', host))
    throw usageError(`${JSON.stringify(host.slice(0, 80))} is not ${nameForms.host}`);
  if (at < 0) return { host };
  const login = text.slice(0, at);
  if (!isName('login', login))
    throw usageError(`${JSON.stringify(login.slice(0, 80))} is not ${nameForms.login}`);
  return { host, login };
}

/** The login to ask for. Throws CliError `login-not-chosen` naming the choices. */
export async function chooseLogin(api: Pick<CaApi, 'host'>, target: SshTarget): Promise<string> {
  if (target.login !== undefined) return target.login;
  const { logins } = await api.host(target.host);
  const [only, ...more] = logins.filter((login) => isName('login', login));
  if (only !== undefined && more.length === 0) return only;
  if (only === undefined) {
    throw new CliError(
      'login-not-chosen',
      'not-found',
      `${target.host} has no login that you may name: ask who administers the CA`,
    );
  }
  const choices = [only, ...more].map((login) => `${login}@${target.host}`).join(', ');
  throw new CliError(
    'login-not-chosen',
    'invalid',
    `${target.host} has several logins: type one of ${choices}`,
  );
}

/** A lifetime such as `90`, `90s`, `15m` or `1h` in seconds. Throws CliError `usage`. */
export function parseLifetime(text: string): number {
  const [, digits, unit = 's'] = /^([1-9][0-9]{0,5})([smh]?)$/.exec(text) ?? [];
  const seconds = Number(digits) * (unit === 'h' ? 3600 : unit === 'm' ? 60 : 1);
  if (!(seconds >= 30 && seconds <= 3600)) {
    throw usageError(`${JSON.stringify(text.slice(0, 20))} is no lifetime from 30s to 1h, such as 15m`);
  }
  return seconds;
}
