/**
 * Which processes belong to a lab host, found by what cannot be forged or forgotten: the network namespace they are in,
 * and for systemd-nspawn itself the folder in its arguments. So a lab is cleaned up by who started it or by anybody later.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { hasCode } from './system-command.ts';

/** The process that the host takes for its first, in this machine's numbers; undefined when the host does not run. */
export function findLeader(namespacePath: string): number | undefined {
  return inNamespace(namespacePath).find((pid) => {
    const numbers = /^NSpid:\s+(.*)$/m.exec(read(`/proc/${pid}/status`))?.[1]?.split(/\s+/) ?? [];
    return numbers.length > 1 && numbers.at(-1) === '1';
  });
}

/** Whether the leader has become this program; before, it is what prepares it. */
export function runsProgram(pid: number, name: string): boolean {
  return read(`/proc/${pid}/comm`) === `${name}\n`;
}

/** Ends all processes of a host at once and waits until they are gone. Throws when they do not go. */
export async function killHost(namespacePath: string, hostFolder: string): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const supervisors = processes().filter((pid) => supervises(pid, hostFolder));
    const inside = inNamespace(namespacePath);
    if (supervisors.length === 0 && inside.length === 0) return;
    // The first process takes all others of the host with it, and then its supervisor ends by itself and tidies up.
    const victims = inside.length > 0 ? inside : attempt < 100 ? [] : supervisors;
    for (const pid of victims) kill(pid);
    await delay(50);
  }
  throw new Error(`processes of ${hostFolder} do not end: look at them with ip netns pids`);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
  }
}

function supervises(pid: number, hostFolder: string): boolean {
  const argv = read(`/proc/${pid}/cmdline`).split('\0');
  return argv[0]?.endsWith('systemd-nspawn') === true && argv.includes(`--directory=${hostFolder}/root`);
}

function inNamespace(namespacePath: string): number[] {
  const namespace = statSync(namespacePath, { throwIfNoEntry: false });
  if (namespace === undefined) return [];
  const link = `net:[${namespace.ino}]`;
  return processes().filter((pid) => {
    try {
      return (
        readlinkSync(`/proc/${pid}/ns/net`) === link && !/^State:\s+Z/m.test(read(`/proc/${pid}/status`))
      );
    } catch {
      return false;
    }
  });
}

function processes(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** The text of a file of `/proc`; nothing when the process has gone. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
