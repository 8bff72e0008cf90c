/**
 * The control groups of a host on a machine that does not itself run systemd (a container, a small virtual machine): one
 * group of its own in each hierarchy that systemd uses, made before the host starts and removed after it. Where systemd
 * runs the machine, systemd-nspawn asks it for a scope and nothing is done here.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { hasCode } from './system-command.ts';

/** Of the old kind systemd needs its own; limits on processes and memory want theirs. The new kind is the empty name. */
const WANTED = /^(|name=systemd|pids|memory)$/;

/** Whether systemd is this machine's first process. */
export function systemdRuns(): boolean {
  return existsSync('/run/systemd/system');
}

/** The folders of this process's own groups, one for each hierarchy. */
function ownGroups(): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => / (\/\S*) (\/\S*) .* - (cgroup2?) \S+ (\S+)$/.exec(line));
  return readFileSync('/proc/self/cgroup', 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, controllers = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      const [name = ''] = controllers.split(',').filter((one) => WANTED.test(one));
      if (path === '' || !WANTED.test(controllers === '' ? '' : name)) return [];
      const mount = mounts.find(
        (found) =>
          found !== null &&
          found[1] === '/' &&
          (controllers === '' ? found[3] === 'cgroup2' : found[4]?.split(',').includes(name) === true),
      );
      return mount?.[2] === undefined ? [] : [join(mount[2], path)];
    });
}

/** Makes the groups called `name` and answers their folders. None where systemd runs the machine. */
export function makeGroups(name: string): string[] {
  if (systemdRuns()) return [];
  return ownGroups().map((parent) => {
    const group = join(parent, name);
    mkdirSync(group, { recursive: true });
    return group;
  });
}

/** Removes the groups called `name`, whose processes have been killed: the last of them may still be going. */
export async function removeGroups(name: string): Promise<void> {
  const groups = ownGroups().map((parent) => join(parent, name));
  for (let attempt = 0; ; attempt += 1) {
    try {
      for (const group of groups) removeTree(group);
      return;
    } catch (error) {
      if (attempt === 100 || !hasCode(error, 'EBUSY')) throw error;
      await delay(50);
    }
  }
}

/** Groups of this process whose names begin so. */
export function groupsNamed(prefix: string): string[] {
  const names = ownGroups().flatMap((parent) =>
    readdirSync(parent).filter((name) => name.startsWith(prefix)),
  );
  return [...new Set(names)];
}

function removeTree(group: string): void {
  if (!existsSync(group)) return;
  for (const entry of readdirSync(group, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(group, entry.name));
  rmdirSync(group);
}
