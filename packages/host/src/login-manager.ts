/**
 * For each account that logs in, systemd mounts a folder and starts a manager of the account's own services
 * (`user-runtime-dir@UID.service`, `user@UID.service`) before sshd goes on, and ends both soon after: more work than all
 * that the gate does, with a manager and a helper that run as the login. The login of gates has no use for either, so
 * both are masked: systemd passes over what is masked, and the login goes on.
 */
import { lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { readAccounts } from './accounts.ts';
import type { Machine } from './machine.ts';

const UNITS = '/etc/systemd/system';
/** What a masked unit is a link to. */
export const NO_UNIT = '/dev/null';

/** The links that mask them; undefined where there is no such account yet. */
export function managerLinks(machine: Machine, login: string): readonly string[] | undefined {
  const uid = readAccounts(machine).get(login)?.uid;
  if (uid === undefined) return undefined;
  return ['user@', 'user-runtime-dir@'].map((name) => join(UNITS, `${name}${uid}.service`));
}

/** Whether both are masked. */
export function isUnmanaged(machine: Machine, login: string): boolean {
  return managerLinks(machine, login)?.every((path) => isMask(machine.at(path))) === true;
}

function isMask(place: string): boolean {
  return (
    lstatSync(place, { throwIfNoEntry: false })?.isSymbolicLink() === true && readlinkSync(place) === NO_UNIT
  );
}
