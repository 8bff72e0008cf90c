/**
 * `scripts/run-kills`: kills broker, CA, sshd, ssh and gate in the middle of runs, at each moment that a run's log knows,
 * and checks each time that no command was lost or done twice, that the run comes to an end, and that records agree.
 * Progress on standard error; on standard output a table and, last, one JSON line. Status 1 when anything was found.
 */
import { parseArgs } from 'node:util';
import { whyNoLab } from '../lab/possible.ts';
import { openKillStage } from './kill-stage.ts';
import { type KillOutcome, killOne, VICTIMS } from './kills.ts';

const USAGE = `Usage: scripts/run-kills [KILLS]
  KILLS   how many runs somebody is killed in; 40 when absent
`;
/** A run's log has about so many entries. */
const MOMENTS = 20;

const say = (text: string): void => void process.stderr.write(`${text}\n`);

function readArguments(argv: readonly string[]): number | undefined {
  try {
    const { positionals } = parseArgs({ args: [...argv], allowPositionals: true, options: {} });
    const [count = '40', ...more] = positionals;
    return more.length === 0 && /^[1-9][0-9]{0,4}$/.test(count) ? Number(count) : undefined;
  } catch {
    return undefined;
  }
}

async function run(count: number): Promise<number> {
  const at = await openKillStage(say);
  try {
    const outcomes: KillOutcome[] = [];
    for (let number = 0; number < count; number++) {
      const victim = VICTIMS[number % VICTIMS.length] ?? 'broker';
      const after = Math.floor(number / VICTIMS.length) % MOMENTS;
      const outcome = await killOne(at, victim, number, after);
      outcomes.push(outcome);
      for (const finding of outcome.findings)
        say(`${number}: ${victim} after ${after} entries, ${outcome.phase}: ${finding}`);
      if ((number + 1) % 10 === 0) say(`${number + 1} of ${count}`);
    }
    const findings = outcomes.reduce((sum, outcome) => sum + outcome.findings.length, 0);
    const ended: Record<string, number> = {};
    for (const victim of VICTIMS) {
      const own = outcomes.filter((outcome) => outcome.victim === victim);
      const hit = own.filter((outcome) => outcome.hit).length;
      const phases = [...new Set(own.map(({ phase }) => phase))].sort().join(', ');
      console.log(`${victim.padEnd(8)} ${hit} of ${own.length}   in: ${phases}`);
    }
    for (const outcome of outcomes) ended[outcome.run.phase] = (ended[outcome.run.phase] ?? 0) + 1;
    const hits = outcomes.filter((outcome) => outcome.hit).length;
    console.log(JSON.stringify({ tool: 'run-kills', runs: count, kills: hits, ended, findings }));
    return findings;
  } finally {
    await at.close();
  }
}

const wanted = readArguments(process.argv.slice(2));
const why = whyNoLab();
if (wanted === undefined) {
  process.stderr.write(USAGE);
  process.exitCode = 64;
} else if (why !== undefined) {
  say(`kills need a host of the lab: ${why}`);
  process.exitCode = 69;
} else {
  process.exitCode = (await run(wanted)) === 0 ? 0 : 1;
}
