/** Ending the runners of a host that is taken back. GitHub is told nothing: what is registered there is named. */
import { readdirSync } from 'node:fs';
import { readIfThere } from './durable-file.ts';
import type { Machine } from './machine.ts';
import { readNote } from './note.ts';
import { GATE_STATE } from './plan.ts';
import { RUNNER_POOL } from './runner-files.ts';

/** Where the gate keeps which account works for which name. */
const BINDINGS = `${GATE_STATE}/pools`;

/** Stops and disables every runner's service; yields what is left at GitHub, by name. */
export function* endRunners(machine: Machine): Generator<string> {
  const noted = readNote(machine);
  if (noted?.runners === undefined) return;
  const count = noted.pools.get(RUNNER_POOL) ?? 0;
  const accounts = Array.from({ length: count }, (_, at) => `${RUNNER_POOL}-${at + 1}`);
  if (machine.live && machine.find('systemctl') !== undefined) {
    const units = accounts.map((account) => `beacon-runner@${account}.service`);
    machine.run(['systemctl', 'disable', '--now', '--quiet', ...units]);
  }
  for (const account of listBindings(machine)) {
    const name = readIfThere(machine.at(`${BINDINGS}/${account}`))
      ?.toString('utf8')
      .trim();
    if (!accounts.includes(account) || name === undefined) continue;
    yield `the runner ${name} was ended; unless it was retired it is registered at GitHub still: delete it there`;
  }
}

function listBindings(machine: Machine): string[] {
  try {
    return readdirSync(machine.at(`${BINDINGS}/.`)).sort();
  } catch {
    return [];
  }
}
