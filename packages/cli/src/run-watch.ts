/**
 * Follows a run to its end: output as it comes, news on stderr, and the exit status of the remote command. A run goes on
 * without a watcher; what was lost of the connection is read again from where it was lost.
 */
import { constants } from 'node:os';
import { type BrokerApi, ClientError, type Run, type RunEvent } from '@beacon/client';
import type { Context } from './context.ts';
import { createRunOutput, type RunOutput } from './run-output.ts';
import { endLines, eventLine, runJson, standing } from './run-text.ts';

export interface WatchOptions {
  readonly json: boolean;
  /** Says nothing but what the commands write, and how it ended when it did not end well. */
  readonly quiet: boolean;
  /** Only events behind this one. */
  readonly after: number;
  /** What Ctrl-C does first; without it, and the second time, it leaves the run alone. */
  readonly onInterrupt?: () => Promise<void>;
}

const FAILED = 255;

/** The status of the last command that failed, 0 when the run succeeded, 255 for all else. */
export async function watchRun(
  context: Context,
  api: BrokerApi,
  id: string,
  options: WatchOptions,
): Promise<number> {
  const { terminal } = context;
  const leave = new AbortController();
  const interrupts = onInterrupts(context, options.onInterrupt, leave);
  const output = createRunOutput(process);
  let status: number | undefined;
  const follow = {
    after: options.after,
    signal: leave.signal,
    onLost: (error: ClientError) => {
      if (!options.quiet) terminal.talk(`beacon: ${error.message.replace(/: try again$/, '')}; trying again`);
    },
  };
  try {
    for await (const event of api.events(id, follow)) {
      await show(context, output, event, options);
      status = statusOf(event) ?? status;
      // It may have been resumed since; an event of the past says nothing of now.
      if (isInterruption(event) && (await api.run(id)).phase === 'interrupted') break;
    }
  } catch (error) {
    if (!leave.signal.aborted && !(error instanceof ClientError && error.code !== 'refused')) throw error;
    const why = leave.signal.aborted ? 'you left it' : messageOf(error);
    terminal.talk(`beacon: ${why}. The run goes on: beacon runs watch ${id}, or beacon runs cancel ${id}`);
    return FAILED;
  } finally {
    interrupts.end();
  }
  return finish(context, await api.run(id), status, options);
}

function finish(context: Context, run: Run, status: number | undefined, options: WatchOptions): number {
  const { terminal } = context;
  const result = run.phase === 'succeeded' ? 0 : run.phase === 'failed' ? (status ?? FAILED) : FAILED;
  if (options.json) {
    terminal.json({ run: runJson(run), status: result });
    return result;
  }
  if (run.phase === 'succeeded') {
    if (!options.quiet) terminal.talk(`beacon: run ${run.id} succeeded`);
    for (const line of run.left) terminal.talk(`beacon: left behind: ${line}`);
    return result;
  }
  terminal.talk(`beacon: run ${run.id} ${standing(run)}`);
  for (const line of endLines(run)) terminal.talk(`beacon: ${line}`);
  return result;
}

async function show(
  { terminal }: Context,
  output: RunOutput,
  event: RunEvent,
  { json, quiet }: WatchOptions,
): Promise<void> {
  if (json) {
    terminal.json({ event });
    return;
  }
  if (event.kind === 'stdout' || event.kind === 'stderr') {
    await output.write(event.kind, event.data);
    return;
  }
  const line = eventLine(event);
  if (line !== undefined && (!quiet || event.kind === 'truncated')) terminal.talk(`beacon: ${line}`);
}

/** How a command ended that did not end well; a later one replaces it. */
export function statusOf({ kind, data }: RunEvent): number | undefined {
  if (kind !== 'step' || data['outcome'] !== 'failed') return undefined;
  const { code, signal } = data;
  if (typeof code === 'number' && code > 0 && code < 256) return code;
  const number = typeof signal === 'string' ? constants.signals[signal as NodeJS.Signals] : undefined;
  return number === undefined ? FAILED : 128 + number;
}

function isInterruption({ kind, data }: RunEvent): boolean {
  return kind === 'phase' && data['phase'] === 'interrupted';
}

/** Ctrl-C asks for what it is to do first and leaves the run the next time; the end of the terminal leaves it at once. */
function onInterrupts(
  { terminal }: Context,
  first: (() => Promise<void>) | undefined,
  leave: AbortController,
): { end(): void } {
  let isAsked = first === undefined;
  const stop = () => leave.abort();
  const interrupt = () => {
    if (isAsked || first === undefined) {
      stop();
      return;
    }
    isAsked = true;
    first().catch((error: unknown) => {
      terminal.talk(`beacon: it could not be cancelled: ${messageOf(error)}`);
    });
  };
  process.on('SIGINT', interrupt).on('SIGTERM', stop).on('SIGHUP', stop);
  return {
    end: () => void process.off('SIGINT', interrupt).off('SIGTERM', stop).off('SIGHUP', stop),
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
