/**
 * How fast the CA issues certificates, from the physical limit up: the signatures alone, the CA's own work without HTTP,
 * over HTTP at 1, 16 and 64 connections, the same with a million records, beside `ssh-keygen -s`; and the memory that it
 * takes. Prints a table and, last, one JSON line. For trying: `--seconds N` measures for less than 30 s, once, and fills
 * less; `--only pipeline,http,filled,others` measures those parts; `--connections 64` measures those numbers of them.
 */
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openDatabase, verifyRecords } from '@beacon/server';
import type { Tables } from '../../packages/ca/src/ca.ts';
import { fillStore } from './issue/fill.ts';
import { measureFloor, measureFsync, measureSshKeygen } from './issue/floor.ts';
import type { LoadOrder, LoadResult } from './issue/load.ts';
import type { PipelineOrder, PipelineResult } from './issue/pipeline.ts';
import type { RequestKind } from './issue/prepared-request.ts';
import { people, ServedCa, START_FLAGS, WIDE } from './issue/served-ca.ts';

const { values } = parseArgs({
  options: { seconds: { type: 'string' }, only: { type: 'string' }, connections: { type: 'string' } },
});
const FULL = values.seconds === undefined;
const WHOLE = FULL && values.only === undefined && values.connections === undefined;
const SECONDS = FULL ? 30 : Number(values.seconds);
const RUNS = FULL ? 3 : 1;
const WARM_SECONDS = FULL ? 3 : 2;
const RECORDS = FULL ? 1_000_000 : 100_000;
const CERTIFICATES_BEFORE_MEMORY = FULL ? 100_000 : 0;
const CONNECTIONS = ([1, 16, 64] as const).filter(
  (number) => values.connections === undefined || values.connections.split(',').includes(String(number)),
);
const CALLERS = 64;
/** More than are asked for in a second at these connections, so that what was made lasts. */
const MOST_PER_SECOND = { 1: 1_200, 16: 2_600, 64: 2_600 } as const;

const say = (text: string) => void process.stderr.write(`${text}\n`);
const wanted = (part: string) => values.only === undefined || values.only.split(',').includes(part);
const median = (numbers: readonly number[]) =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;

/** Gives a process of our own its order, lets it make ready, and then go. */
function runChild<Order extends object, Result>(file: string, order: Order): Promise<Result> {
  const child = fork(join(import.meta.dirname, 'issue', file), {
    execArgv: [],
    serialization: 'advanced',
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status) => reject(new Error(`${file} ended with ${status}`)));
    child.on('message', (message: { ready?: true; result?: Result; error?: string }) => {
      if (message.ready === true) child.send('go');
      else if (message.result !== undefined) resolve(message.result);
      else reject(new Error(message.error));
    });
    child.send(order);
  });
}

async function pipeline(ca: ServedCa, kind: RequestKind, who: readonly string[]): Promise<PipelineResult> {
  await ca.serve();
  const logins = await ca.logins(who);
  await ca.stop();
  const seconds = Math.min(SECONDS, 15);
  const result = await runChild<PipelineOrder, PipelineResult>('pipeline.ts', {
    configuration: ca.configuration,
    url: ca.url,
    logins,
    kind,
    callers: CALLERS,
    warmSeconds: WARM_SECONDS,
    seconds,
    requests: 3_000 * (WARM_SECONDS + seconds),
  });
  const { per_s, cpu_us } = { per_s: Math.round(result.per_s), cpu_us: Math.round(result.cpu_us) };
  say(`  ${kind}, ${who.length} people: ${per_s} a second, ${cpu_us} µs of processor time each`);
  return { per_s, cpu_us };
}

let answered = 0;

interface HttpRun extends LoadResult {
  readonly cpu_us: number;
}

async function load(ca: ServedCa, connections: 1 | 16 | 64): Promise<HttpRun> {
  const logins = await ca.logins(people);
  const before = ca.cpuSeconds();
  const result = await runChild<LoadOrder, LoadResult>('load.ts', {
    url: ca.url,
    logins,
    connections,
    warmSeconds: WARM_SECONDS,
    seconds: SECONDS,
    requests: MOST_PER_SECOND[connections] * (WARM_SECONDS + SECONDS),
  });
  answered += result.certificates;
  const cpu_us = Math.round(((ca.cpuSeconds() - before) * 1e6) / result.certificates);
  const { now, highest } = ca.memory();
  const short =
    result.seconds < SECONDS - 0.1 ? ` (over ${result.seconds.toFixed(1)} s: no requests left)` : '';
  say(
    `  ${connections} connections: ${Math.round(result.per_s)} a second, p50 ${result.p50_ms.toFixed(1)} ms, p99 ${result.p99_ms.toFixed(1)} ms${short}; ${cpu_us} µs of processor time each; memory ${now} MiB, at most ${highest}`,
  );
  return { ...result, cpu_us };
}

interface HttpFigures {
  readonly per_s: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
}

interface CountedFigures extends HttpFigures {
  /** Processor time of the CA for one certificate, in microseconds. */
  readonly cpu_us: number;
}

async function http(ca: ServedCa, connections: 1 | 16 | 64): Promise<CountedFigures> {
  const runs: HttpRun[] = [];
  for (let run = 0; run < RUNS; run++) runs.push(await load(ca, connections));
  const of = (figure: keyof CountedFigures) => median(runs.map((run) => run[figure]));
  const tenth = (number: number) => Math.round(number * 10) / 10;
  return {
    per_s: Math.round(of('per_s')),
    p50_ms: tenth(of('p50_ms')),
    p99_ms: tenth(of('p99_ms')),
    cpu_us: of('cpu_us'),
  };
}

/** Every certificate that was answered has its row, and the chain verifies. */
async function verifyStore(ca: ServedCa, atLeast: number): Promise<void> {
  const store = openDatabase<Tables>({ file: ca.storeFile, readOnly: true });
  try {
    const { count } = await store
      .selectFrom('certificates')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    if (count < atLeast) throw new Error(`${atLeast} certificates were answered, ${count} are in the store`);
    const verdict = await verifyRecords(store, { chain: 'ca', anchors: [] });
    if (!verdict.ok) throw new Error(`the chain does not verify: ${JSON.stringify(verdict)}`);
    say(`  ${count} certificates in the store, ${verdict.count} records, the chain verifies`);
  } finally {
    await store.destroy();
  }
}

const result: Record<string, unknown> = { bench: 'issue' };
if (!WHOLE) result['part'] = process.argv.slice(2).join(' ');
const table: string[] = [];
const row = (what: string, figure: string, beside = '') =>
  void table.push(`${what.padEnd(52)}${figure.padStart(10)}   ${beside}`.trimEnd());
const note = (key: string, value: unknown) => {
  result[key] = value;
};

if (!WHOLE) table.push(`IN PART (${process.argv.slice(2).join(' ')}): for trying, not for comparing`);
row('what', 'a second');
say('the signatures alone');
const floor = Math.round(measureFloor(Math.min(SECONDS, 5)));
const percent = (part: number) => `${Math.round((100 * part) / floor)} % of the floor`;
note('floor_per_s', floor);
row('two Ed25519 verifications and a signature (floor)', String(floor), 'Node’s crypto alone, one thread');

const ca = await ServedCa.start();
let filled: ServedCa | undefined;
try {
  if (wanted('pipeline')) {
    say('the CA without HTTP');
    const parts = [
      ['pipeline_per_s', 'the CA without HTTP, runs', 'run', people],
      ['pipeline_200_teams_per_s', '  for a person in 200 teams', 'run', [WIDE]],
      ['pipeline_ssh_per_s', '  personal logins', 'ssh', people],
    ] as const;
    for (const [key, what, kind, who] of parts) {
      const { per_s, cpu_us } = await pipeline(ca, kind, who);
      note(key, per_s);
      row(what, String(per_s), `${percent(per_s)}; ${cpu_us} µs of processor time each`);
    }
    await ca.serve();
  }
  const byConnections: Record<string, HttpFigures> = {};
  if (wanted('http')) {
    say(`over HTTP: beacon ca serve started as node ${START_FLAGS.join(' ')}`);
    answered = 0;
    for (const connections of CONNECTIONS) {
      const { cpu_us, ...figures } = await http(ca, connections);
      byConnections[connections] = figures;
      row(
        `over HTTP, ${connections} connection${connections === 1 ? '' : 's'}`,
        String(figures.per_s),
        `p50 ${figures.p50_ms} ms, p99 ${figures.p99_ms} ms, ${percent(figures.per_s)}; ${cpu_us} µs of processor time each`,
      );
    }
    note('http', byConnections);
    while (answered < CERTIFICATES_BEFORE_MEMORY) await load(ca, 64);
    const memory = ca.memory();
    note('rss_mib', memory.now);
    note('rss_highest_mib', memory.highest);
    note('rss_after_certificates', answered);
    row(
      `resident memory after ${answered} certificates`,
      `${memory.now} MiB`,
      `at most ${memory.highest} MiB; node ${START_FLAGS.join(' ')}`,
    );
    await ca.stop();
    await verifyStore(ca, answered);
  }
  if (wanted('filled')) {
    say(`with ${RECORDS} records`);
    filled = await ServedCa.start();
    await filled.stop();
    await fillStore(filled.storeFile, RECORDS, (done) => done % 200_000 === 0 && say(`  ${done} records`));
    await filled.serve();
    const { cpu_us, ...figures } = await http(filled, 64);
    const none = byConnections[64]?.per_s ?? Number.NaN;
    const ratio = Math.round((100 * figures.per_s) / none) / 100;
    note('after_1m', figures);
    note('after_1m_ratio', ratio);
    row(
      `over HTTP, 64 connections, ${RECORDS} records there`,
      String(figures.per_s),
      `p50 ${figures.p50_ms} ms, p99 ${figures.p99_ms} ms, ${Math.round(ratio * 100)} % of the speed with none; ${cpu_us} µs of processor time each`,
    );
  }
} finally {
  await ca.remove();
  await filled?.remove();
}
if (wanted('others')) {
  say('ssh-keygen -s and the disk');
  const keygen = Math.round(await measureSshKeygen(Math.min(SECONDS, 5)));
  const fsync = Math.round(measureFsync(Math.min(SECONDS, 5)));
  note('ssh_keygen_per_s', keygen);
  note('fsync_per_s', fsync);
  row('ssh-keygen -s, a process each', String(keygen), 'without who may, record or revocation');
  row('4 KiB written and on disk', String(fsync), 'where the stores of this bench were');
}
process.stdout.write(`${table.join('\n')}\n${JSON.stringify(result)}\n`);
