/** `beacon runs`: one's own runs, one of them in full, and what can be done about it. */
import type { Run, RunWish } from '@beacon/client';
import { type BrokerChoice, openBroker } from './broker.ts';
import type { Context } from './context.ts';
import { readSecrets, type SecretOptions } from './run-secrets.ts';
import { endLines, runJson, runLine, runLines } from './run-text.ts';
import { watchRun } from './run-watch.ts';
import { formatTable, formatTime } from './terminal.ts';

export interface RunsOptions extends BrokerChoice {
  readonly host?: string;
  readonly phase?: string;
  readonly before?: string;
  readonly lines: string;
  readonly json: boolean;
}

export interface WatchedOptions extends BrokerChoice {
  readonly quiet: boolean;
  readonly json: boolean;
}

export interface WishOptions extends WatchedOptions, Partial<SecretOptions> {
  readonly watch: boolean;
}

export async function listRuns(context: Context, options: RunsOptions): Promise<number> {
  const { api } = await openBroker(context, options);
  const runs = await api.runs({
    limit: options.lines,
    ...(options.host === undefined ? {} : { host: options.host }),
    ...(options.phase === undefined ? {} : { phase: options.phase }),
    ...(options.before === undefined ? {} : { before: options.before }),
  });
  if (options.json) {
    context.terminal.json({ runs: runs.map(runJson) });
    return 0;
  }
  const rows = runs.map((run) => [run.id, formatTime(run.created), run.host, run.title, run.phase]);
  for (const line of formatTable([['RUN', 'ASKED FOR', 'HOST', 'WHAT', 'PHASE'], ...rows]))
    context.terminal.out(line);
  return 0;
}

export async function showRun(context: Context, id: string, options: RunsOptions): Promise<number> {
  const { api } = await openBroker(context, options);
  print(context, await api.run(id), options.json);
  return 0;
}

/** From the beginning, whether it goes on still or not; the status is that of `beacon run`. */
export async function watchAgain(context: Context, id: string, options: WatchedOptions): Promise<number> {
  const { api } = await openBroker(context, options);
  return watchRun(context, api, id, { json: options.json, quiet: options.quiet, after: 0 });
}

/** Cancels, looks, resumes, tries again or takes back. */
export async function wishRun(
  context: Context,
  id: string,
  wish: RunWish,
  options: WishOptions,
): Promise<number> {
  const { secret = [], secretFile = [] } = options;
  const secrets = await readSecrets({ secret, secretFile });
  const { api } = await openBroker(context, options);
  const before = await api.run(id);
  const run = await api.wish(id, wish, secrets);
  if (options.watch) {
    if (run.id !== id && !options.json) context.terminal.talk(`beacon: run ${run.id}`);
    return watchRun(context, api, run.id, {
      json: options.json,
      quiet: options.quiet,
      after: run.id === id ? before.lastEvent : 0,
    });
  }
  if (options.json) {
    context.terminal.json({ run: runJson(run) });
    return 0;
  }
  context.terminal.out(runLine(run));
  for (const line of endLines(run)) context.terminal.talk(`beacon: ${line}`);
  return 0;
}

function print({ terminal }: Context, run: Run, json: boolean): void {
  if (json) terminal.json({ run: runJson(run) });
  else for (const line of runLines(run)) terminal.out(line);
}
