/**
 * What would keep an allowlist's commands from running on this machine, before anybody asks for one, and what is allowed
 * but seldom meant. Reads; changes nothing.
 */
import type { AllowedCommand, Allowlist } from '@beacon/protocol/allowlist';
import { accountsOfPool, findAccount } from './account.ts';
import { GateError, refusalOf } from './error.ts';
import { type Owner, requireSafeProgram } from './safe-path.ts';

export interface Finding {
  /** A defect keeps the command from running; a note does not. */
  readonly kind: 'defect' | 'note';
  readonly command: string;
  readonly what: string;
}

/** Values that programs take for more than a value, and why. */
const SUSPICIOUS: readonly (readonly [string, string])[] = [
  ['@/etc/shadow', 'a value that begins with @ names a file to many programs'],
  ['../../etc/shadow', 'a value with ".." leaves a folder'],
  ['file:///etc/shadow', 'a value may be a URL'],
  ['ext::sh -c id', 'a value with "::" is a transport to git'],
  ['$(id)', 'a value may hold $( ), which a command that calls a shell would run'],
];

export function checkAllowlist(allowlist: Allowlist, passwd: string, owner: Owner): Finding[] {
  return [...allowlist.commands.values()].flatMap((command) => [
    ...defectsOf(command, passwd, owner),
    ...notesOf(command),
  ]);
}

function defectsOf(command: AllowedCommand, passwd: string, owner: Owner): Finding[] {
  const checks = [
    () => requireSafeProgram(command.argv[0], owner),
    () => {
      if (!('pool' in command.runAs)) findAccount(passwd, command.runAs.account);
      else if (accountsOfPool(passwd, command.runAs.pool).length === 0) {
        throw new GateError('account-missing', `there is no account ${command.runAs.pool}-1: make the pool`);
      }
    },
  ];
  return checks.flatMap((check) => {
    try {
      check();
      return [];
    } catch (error) {
      return [{ kind: 'defect', command: command.name, what: refusalOf(error).reason } as const];
    }
  });
}

function notesOf(command: AllowedCommand): Finding[] {
  const notes = [...command.parameters].flatMap(([name, { pattern, isSecret }]) =>
    isSecret
      ? []
      : SUSPICIOUS.filter(([value]) => pattern.matches(value)).map(
          ([, why]) => `the pattern of ${name} is wide: ${why}`,
        ),
  );
  const runsAsRoot = !('pool' in command.runAs) && command.runAs.account === 'root';
  return [
    ...notes,
    ...(runsAsRoot ? ['it runs as root: let it open no path below a folder that others can write'] : []),
  ].map((what) => ({ kind: 'note', command: command.name, what }));
}
