/** The Unix accounts of this machine, from passwd(5): a run-as is the name of a local account, exactly. */
import { readFileSync } from 'node:fs';
import { GateError } from './error.ts';

export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

const LINE = /^([^:]+):[^:]*:(\d{1,10}):(\d{1,10}):[^:]*:([^:]*):[^:]*$/;

/** Throws GateError `account-missing`. */
export function findAccount(passwd: string, name: string): Account {
  const found = readAccounts(passwd).find((account) => account.name === name);
  if (found === undefined) {
    throw new GateError('account-missing', `there is no account ${name}: make it, or change run_as`);
  }
  return found;
}

/** The accounts `<pool>-<number>`, lowest number first. */
export function accountsOfPool(passwd: string, pool: string): Account[] {
  const number = (name: string): number => {
    const rest = name.startsWith(`${pool}-`) ? name.slice(pool.length + 1) : '';
    return /^[1-9][0-9]{0,5}$/.test(rest) ? Number(rest) : 0;
  };
  return readAccounts(passwd)
    .filter(({ name }) => number(name) > 0)
    .sort((a, b) => number(a.name) - number(b.name));
}

function readAccounts(passwd: string): Account[] {
  return readFileSync(passwd, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, name, uid, gid, home] = LINE.exec(line) ?? [];
      if (name === undefined || home === undefined) return [];
      return [{ name, uid: Number(uid), gid: Number(gid), home }];
    });
}
