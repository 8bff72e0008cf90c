/**
 * `scripts/crash`: kills a real CA many times at random moments and checks each time that nothing it said was forgotten.
 * Progress on standard error; on standard output a table and, last, one JSON line. Status 1 when anything was found.
 */
import { parseArgs } from 'node:util';
import { type Cluster, startCluster } from '../../packages/server/test/postgres-cluster.ts';
import { type Moment, type Outcome, runCycles } from './cycles.ts';
import type { FindingKind } from './judge.ts';
import { createRandom } from './random.ts';
import { Victim } from './victim.ts';

const USAGE = `Usage: scripts/crash [KILLS] [--seed TEXT] [--postgres] [--keep]
  KILLS       how often the CA is killed; 30 when absent
  --seed      chooses the same moments again
  --postgres  on a PostgreSQL cluster of its own, whose server is killed now and then as well
  --keep      leaves the folder with the store and the ledger; what finds something leaves it in any case
`;

interface Wanted {
  readonly kills: number;
  readonly seed: string;
  readonly postgres: boolean;
  readonly keep: boolean;
}

const LANES = 2;

const say = (text: string) => void process.stderr.write(`${text}\n`);

/** Undefined when the arguments make no sense. */
function readArguments(argv: readonly string[]): Wanted | undefined {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        seed: { type: 'string', default: String(Date.now()) },
        postgres: { type: 'boolean', default: false },
        keep: { type: 'boolean', default: false },
      },
    });
    const [kills = '30', ...more] = positionals;
    return more.length === 0 && /^[1-9][0-9]{0,5}$/.test(kills)
      ? { ...values, kills: Number(kills) }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Answers the exit status. Two CAs are killed side by side, each on a store of its own: most of a life is its start. */
async function run(wanted: Wanted): Promise<number> {
  const begun = Date.now();
  say(`seed ${wanted.seed}`);
  const lanes = Math.min(LANES, wanted.kills);
  const shares = Array.from({ length: lanes }, (_, lane) => Math.floor((wanted.kills + lane) / lanes));
  const outcomes = await Promise.all(shares.map((kills, lane) => runLane(wanted, kills, lane)));
  const findings = report(wanted, outcomes, (Date.now() - begun) / 1000);
  return findings === 0 ? 0 : 1;
}

async function runLane(wanted: Wanted, kills: number, lane: number): Promise<Outcome> {
  const random = createRandom(`${wanted.seed}/${lane}`);
  const cluster = wanted.postgres ? await startCluster({ durable: true }) : undefined;
  let victim: Victim | undefined;
  let keep = wanted.keep;
  const close = async () => {
    await victim?.close(keep);
    await cluster?.stop();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void close().finally(() => process.exit(130)));
  const talk = (text: string) => say(`${lane + 1}: ${text}`);
  try {
    victim = await Victim.make(cluster === undefined ? {} : { postgresUrl: await cluster.createDatabase() });
    talk(victim.folder);
    const between = async () => {
      if (cluster !== undefined && random.next() < 0.2) await crashCluster(cluster);
    };
    const outcome = await runCycles(victim, { kills, random, say: talk, between });
    keep ||= outcome.findings.length > 0;
    return outcome;
  } catch (error) {
    keep = true;
    throw error;
  } finally {
    await close();
  }
}

async function crashCluster(cluster: Cluster): Promise<void> {
  await cluster.crash();
  await cluster.start();
}

/** Prints table and figures; answers how much was found. */
function report(wanted: Wanted, outcomes: readonly Outcome[], seconds: number): number {
  const findings = outcomes.flatMap((outcome) => outcome.findings);
  const count = (kind: FindingKind) => findings.filter((one) => one.kind === kind).length;
  const sum = (of: (outcome: Outcome) => number) => outcomes.reduce((total, one) => total + of(one), 0);
  const during = (moment: Moment) => sum(({ kills }) => kills[moment]);
  const result = {
    crash: wanted.postgres ? 'postgresql' : 'sqlite',
    kills: sum(({ kills }) => kills.load + kills.start + kills.stop),
    acknowledged: sum((one) => one.acknowledged),
    lost: count('lost'),
    reused: count('reused'),
    broken_chains: count('broken-chain'),
    revoked_forgotten: count('revoked-forgotten'),
    replays_accepted: count('replay-accepted'),
    seconds: Math.round(seconds),
  };
  const rows: readonly (readonly [string, number])[] = [
    ['kills under load', during('load')],
    ['kills while starting', during('start')],
    ['kills while stopping', during('stop')],
    ['answers acknowledged', sum((one) => one.acknowledged)],
    ['  of them certificates', sum((one) => one.certificates)],
    ['  of them revocations', sum((one) => one.revocations)],
    ['records in the chain', sum((one) => one.records)],
    ['used proofs shown again', sum((one) => one.shownAgain)],
    ['acknowledged and lost', result.lost],
    ['serials reused', result.reused],
    ['chains that do not verify', result.broken_chains],
    ['revoked and forgotten', result.revoked_forgotten],
    ['used proofs accepted again', result.replays_accepted],
  ];
  const table = rows.map(([name, value]) => `${name.padEnd(30)}${String(value).padStart(10)}\n`).join('');
  process.stdout.write(`${table}${JSON.stringify(result)}\n`);
  return findings.length;
}

const wanted = readArguments(process.argv.slice(2));
if (wanted === undefined) {
  process.stderr.write(USAGE);
  process.exitCode = 64;
} else {
  process.exitCode = await run(wanted).catch((error: unknown) => {
    say(error instanceof Error ? (error.stack ?? error.message) : String(error));
    return 70;
  });
}
