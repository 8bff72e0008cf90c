/** `scripts/lab`: the lab by hand. Standard output has the hosts, standard error the talk. */
import type { HostForm } from './first-process.ts';
import { DEFAULT_FOLDER, Lab } from './lab.ts';
import { whyNoLab } from './possible.ts';

const USAGE = `Usage: scripts/lab up N [--light]         N real hosts, lab-1 to lab-N; those that run stay as they are.
                                          --light: light-1 to light-N, sshd without systemd
       scripts/lab exec HOST COMMAND…     as root in the host, without a shell
       scripts/lab list
       scripts/lab down                   ends all and removes everything
All of it lies in ${DEFAULT_FOLDER}. Needs root.
`;

async function up(lab: Lab, count: number, form: HostForm): Promise<number> {
  for (let number = 1; number <= count; number += 1) {
    const { host, degraded } = await lab.boot(`${form === 'light' ? 'light' : 'lab'}-${number}`, { form });
    process.stdout.write(`${host.name}\t${host.address}\n`);
    if (degraded !== '') process.stderr.write(`${host.name} is ${degraded}\n`);
  }
  return 0;
}

function list(lab: Lab): number {
  for (const host of lab.hosts())
    process.stdout.write(`${host.name}\t${host.address}\t${host.running ? 'running' : 'ended'}\n`);
  return 0;
}

async function exec(lab: Lab, name: string, argv: readonly string[]): Promise<number> {
  const host = lab.host(name);
  if (host?.running === true) return host.attach(argv);
  process.stderr.write(`lab: there is no host ${name} that runs: see scripts/lab list\n`);
  return 66;
}

async function main([command, ...words]: readonly string[]): Promise<number> {
  const [first = '', ...rest] = words;
  const known =
    (command === 'up' && /^[1-9]\d{0,2}$/.test(first) && /^(--light)?$/.test(rest.join(' '))) ||
    (command === 'exec' && rest.length > 0) ||
    ((command === 'list' || command === 'down') && words.length === 0);
  if (!known) {
    process.stderr.write(USAGE);
    return 64;
  }
  const why = whyNoLab();
  if (why !== undefined) {
    process.stderr.write(`lab: ${why}\n`);
    return 69;
  }
  const lab = Lab.open(DEFAULT_FOLDER);
  if (command === 'up') return up(lab, Number(first), rest.length === 0 ? 'whole' : 'light');
  if (command === 'exec') return exec(lab, first, rest);
  if (command === 'list') return list(lab);
  await lab.down();
  return 0;
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`lab: ${error instanceof Error ? error.message : String(error)}\n`);
  return 70;
});
