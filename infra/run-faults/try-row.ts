/**
 * Tries one row of the fault table: makes the fault, has the run, and says what is not as the row says. Looks at the run,
 * at the stand-in, at the host and at the joined records.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type BrokerApi, ClientError, type Run, type RunEvent } from '@beacon/client';
import type { FaultRow } from './fault-row.ts';
import { type FaultStage, newPerson, RowStage } from './fault-stage.ts';

export interface Tried {
  /** What a person has seen, line by line. */
  readonly seen: readonly string[];
  readonly run: Run | undefined;
  readonly findings: readonly string[];
}

const SETTLE_MS = 90_000;
/** The broker answers one person so often, and several rows look at once. */
const LOOK_MS = 1_200;

/** `name` is for the repository and the runner, and was never used before. */
export async function tryRow(at: FaultStage, row: FaultRow, name: string): Promise<Tried> {
  const person = row.person === true ? await newPerson(at, `${name}-person`) : undefined;
  const stage = new RowStage(at, name, person);
  await row.arrange?.(stage, at);
  const seen: string[] = [];
  const findings: string[] = [];
  let run: Run | undefined;
  try {
    run = await throughTheRun(row, stage, seen);
  } finally {
    await row.mend?.(stage);
  }
  const expect = (holds: boolean, finding: string): void => void (holds || findings.push(finding));
  expect((run?.phase ?? 'refused') === row.phase, `it is ${run?.phase ?? 'refused'}, not ${row.phase}`);
  const left = run?.left ?? [];
  const text = [...seen, ...left].join('\n');
  for (const words of [row.sees, row.todo]) expect(text.includes(words), `nowhere stands: ${words}`);
  for (const one of row.left ?? [])
    expect(
      left.some((line) => line.includes(one)),
      `not named as left: ${one}`,
    );
  expect(left.length === (row.left?.length ?? 0), `named as left: ${left.join('; ') || 'nothing'}`);
  const there = stage.atGitHub.filter((runner) => runner.name === name);
  expect(there.length === (row.atGitHub ?? 0), `${there.length} runners at GitHub`);
  const bound = await stage.host.script(`grep -lxF ${name} /var/lib/beacon/pools/* 2>/dev/null || :`);
  expect((bound !== '') === (row.onHost ?? false), `accounts of it on the host: ${bound.trim() || 'none'}`);
  if (run !== undefined) findings.push(...(await disagreements(stage.api, run, row)));
  if (row.onHost === true) await stage.clear();
  return { seen, run, findings };
}

async function throughTheRun(row: FaultRow, stage: RowStage, seen: string[]): Promise<Run | undefined> {
  const { api, host } = stage;
  const procedure = row.procedure ?? 'runner.provision';
  let begun: Run;
  try {
    const params = row.params?.(stage) ?? stage.params;
    begun = (await api.createRun({ host: host.target.name, procedure, params })).run;
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    seen.push(`${error.problem?.code ?? error.code}: ${error.message}`);
    return undefined;
  }
  const stop = new AbortController();
  const watching = watch(row, stage, begun.id, { seen, signal: stop.signal });
  const pressed = [...(row.press ?? [])];
  let run = begun;
  for (const begin = performance.now(); performance.now() - begin < SETTLE_MS; await sleep(LOOK_MS)) {
    // Whoever has just been logged out is nobody until the next login.
    run = await stage.api.run(begun.id).catch(() => run);
    if (['succeeded', 'failed', 'cancelled', 'denied'].includes(run.phase)) break;
    if (run.phase !== 'interrupted') continue;
    seen.push(`${run.phase}: ${run.end?.reason ?? ''}; possible: ${run.possible.join(', ')}`);
    const wish = pressed.shift();
    if (wish === undefined) break;
    await stage.api.wish(begun.id, wish);
  }
  seen.push(`${run.phase}: ${run.end?.reason ?? ''}`);
  stop.abort();
  await watching.catch(() => undefined);
  return run;
}

async function watch(
  row: FaultRow,
  stage: RowStage,
  id: string,
  { seen, signal }: { readonly seen: string[]; readonly signal: AbortSignal },
): Promise<void> {
  let acted = false;
  for await (const event of stage.api.events(id, { signal })) {
    seen.push(line(event));
    if (acted || row.act?.when(event) !== true) continue;
    acted = true;
    await row.act.doing(stage, id);
  }
}

function line({ kind, data }: RunEvent): string {
  return `${kind} ${Object.values(data).map(String).join(' ')}`;
}

async function disagreements(api: BrokerApi, run: Run, row: FaultRow): Promise<string[]> {
  const trace = await api.traceRun(run.id);
  const missing = trace.missing.filter(({ chain }) => !(row.hostIsSilent === true && chain === 'host'));
  return [
    ...trace.findings.map(({ code, text }) => `trace: ${code}: ${text}`),
    ...missing.map(({ chain, reason }) => `trace: nothing of ${chain}: ${reason}`),
  ];
}
