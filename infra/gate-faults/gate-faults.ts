/**
 * `scripts/gate-faults`: breaks many runs on a host of the lab and checks each time that what had begun was taken back in
 * order, or named, that records are whole and that nothing runs on. Progress on standard error; on standard output a table
 * and, last, one JSON line. Status 1 when anything was found.
 */
import { parseArgs } from 'node:util';
import { createRandom } from '../crash/random.ts';
import { GateHost } from '../lab/gate-host.ts';
import { Lab } from '../lab/lab.ts';
import { whyNoLab } from '../lab/possible.ts';
import { breakOne, FAULTS, type FaultOutcome, LONGEST_MS, prepare } from './faults.ts';
import { isWholeChain } from './judge.ts';

const USAGE = `Usage: scripts/gate-faults [FAULTS] [--seed TEXT]
  FAULTS   how many runs are broken; 30 when absent
  --seed   chooses the same faults and moments again
`;

const say = (text: string): void => void process.stderr.write(`${text}\n`);

function readArguments(argv: readonly string[]): { count: number; seed: string } | undefined {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: { seed: { type: 'string', default: String(Date.now()) } },
    });
    const [count = '30', ...more] = positionals;
    return more.length === 0 && /^[1-9][0-9]{0,4}$/.test(count)
      ? { count: Number(count), seed: values.seed }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Answers how many findings there are. */
async function run(lab: Lab, count: number, seed: string): Promise<number> {
  say(`seed ${seed}`);
  const random = createRandom(seed);
  const host = await GateHost.boot(lab, 'fault-01');
  await prepare(host);
  const outcomes: FaultOutcome[] = [];
  for (let number = 1; number <= count; number++) {
    const fault = FAULTS[random.between(0, FAULTS.length - 1)] ?? 'lost';
    const outcome = await breakOne(host, fault, number, random.between(0, LONGEST_MS));
    outcomes.push(outcome);
    for (const finding of outcome.findings)
      say(`${number}, ${fault} after ${outcome.afterMs} ms: ${finding}`);
    if (number % 10 === 0) say(`${number} of ${count}`);
  }
  const whole = isWholeChain(await host.records());
  if (!whole) say('the record chain of the host is broken');
  const sum = (of: (outcome: FaultOutcome) => number): number =>
    outcomes.reduce((total, outcome) => total + of(outcome), 0);
  const faults = Object.fromEntries(
    FAULTS.map((fault) => [fault, outcomes.filter((outcome) => outcome.fault === fault).length]),
  );
  const findings = sum((outcome) => outcome.findings.length) + (whole ? 0 : 1);
  for (const [fault, times] of Object.entries(faults)) console.log(`${fault.padEnd(14)} ${times}`);
  console.log(
    JSON.stringify({
      tool: 'gate-faults',
      seed,
      runs: count,
      ...faults,
      started: sum(({ started }) => started),
      undone: sum(({ undone }) => undone),
      left: sum(({ left }) => left),
      findings,
    }),
  );
  return findings;
}

const wanted = readArguments(process.argv.slice(2));
const why = whyNoLab();
if (wanted === undefined) {
  process.stderr.write(USAGE);
  process.exitCode = 64;
} else if (why !== undefined) {
  say(`faults need a host of the lab: ${why}`);
  process.exitCode = 69;
} else {
  const lab = await Lab.temporary();
  try {
    process.exitCode = (await run(lab, wanted.count, wanted.seed)) === 0 ? 0 : 1;
  } finally {
    await lab.down();
  }
}
