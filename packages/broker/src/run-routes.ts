/**
 * Runs over HTTP, for programs below `/v1` and for the portal below `/api`: made, found, watched, wished about. A person
 * sees their own runs; others' are not there for them, whoever asks.
 */
import {
  HEARTBEAT_SECONDS,
  run as runAnswer,
  runChange,
  runEventHeaders,
  runEventQuery,
  runHeaders,
  runList,
  runParams,
  runQuery,
  runRequest,
  runWish,
} from '@beacon/protocol/http/runs';
import { type Answer, eventStream, eventStreamHeaders, type Route, type StreamedEvent } from '@beacon/server';
import { type BrokerCaller, defineRoute } from './define-route.ts';
import type { Door } from './door.ts';
import { BrokerError } from './error.ts';
import { type OrderingContext, orderRun } from './order-run.ts';
import { runEntry } from './run-entry.ts';
import type { Caller, RunLogEntry, Runs, StoredRun } from './run-order.ts';
import { possibleWishes } from './run-wishes.ts';
import { markOf } from './runner-mark.ts';
import type { Watchers } from './watchers.ts';

export interface RunRouteParts {
  readonly runs: Runs;
  readonly ordering: () => OrderingContext;
  readonly watchers: Watchers;
  /** Aborted when the broker stops: open streams end. */
  readonly stopping: AbortSignal;
  readonly now: () => Date;
}

const TAG = 'runs';
const MAX_BODY = 256 * 1024;
/** The longest delay that a timer takes. */
const MAX_DELAY_MS = 2 ** 31 - 1;

export function runRoutes(parts: RunRouteParts, { prefix, read, change }: Door): readonly Route[] {
  const { runs } = parts;

  async function create(
    caller: BrokerCaller,
    asked: Parameters<typeof orderRun>[0],
    more: Parameters<typeof orderRun>[3],
  ) {
    const order = await orderRun(asked, caller, parts.ordering(), more);
    const { run, isNew } = await runs.create(order, callerOf(caller), asked.secrets ?? {});
    return { status: isNew ? 201 : 200, body: runEntry(run) };
  }

  const wish = (kind: 'cancel' | 'look' | 'undo', summary: string) =>
    defineRoute({
      method: 'POST',
      path: `${prefix}/runs/{id}/${kind}`,
      summary,
      tag: TAG,
      access: change,
      request: { params: runParams, body: runWish },
      responses: { 200: { description: 'The run', schema: runAnswer } },
      handle: async ({ params, caller }) => {
        await ownRun(runs, params.id, caller);
        return { status: 200, body: runEntry(await runs.wish(params.id, kind, callerOf(caller))) };
      },
    });

  return [
    defineRoute({
      method: 'POST',
      path: `${prefix}/runs`,
      summary: 'Asks for a run of one command or procedure',
      tag: TAG,
      access: change,
      request: { body: runRequest, headers: runHeaders },
      maxBodyBytes: MAX_BODY,
      responses: {
        201: { description: 'The run, which has begun', schema: runAnswer },
        200: { description: 'The run that was asked for with this key before', schema: runAnswer },
      },
      handle: ({ body, headers, caller }) =>
        create(caller, body, { idempotencyKey: headers['idempotency-key'] }),
    }),
    defineRoute({
      method: 'GET',
      path: `${prefix}/runs`,
      summary: "Lists the caller's runs, the newest first",
      tag: TAG,
      access: read,
      request: { query: runQuery },
      responses: { 200: { description: 'Runs', schema: runList } },
      handle: async ({ query: { person, ...filter }, caller }) => {
        // Others' runs are not there, so there are none to list.
        const isOwn = person === undefined || person === caller.person;
        const found = isOwn ? await runs.list({ ...given(filter), person: caller.person }) : [];
        return { status: 200, body: { runs: found.map(runEntry) } };
      },
    }),
    defineRoute({
      method: 'GET',
      path: `${prefix}/runs/{id}`,
      summary: 'Shows a run',
      tag: TAG,
      access: read,
      request: { params: runParams },
      responses: { 200: { description: 'The run', schema: runAnswer } },
      handle: async ({ params, caller }) => ({
        status: 200,
        body: runEntry(await ownRun(runs, params.id, caller)),
      }),
    }),
    defineRoute({
      method: 'GET',
      path: `${prefix}/runs/{id}/events`,
      summary: 'Streams the events of a run, from the first or from behind one; ends when the run is over',
      tag: TAG,
      access: read,
      request: { params: runParams, query: runEventQuery, headers: runEventHeaders },
      responses: {
        200: { description: 'Server-Sent Events', contentType: 'text/event-stream' },
      },
      handle: async ({ params, query, headers, caller, signal }) => {
        runs.refresh(callerOf(caller));
        const run = await ownRun(runs, params.id, caller);
        // A browser that comes again sends the header to the address it had at first.
        const after = Number(headers['last-event-id'] ?? query.after ?? 0);
        return watch(parts, { run, after, caller, signal });
      },
    }),
    wish('cancel', 'Stops a run and takes back what it has done'),
    wish('look', 'Asks the host what became of the steps of a run that was interrupted'),
    wish('undo', 'Takes back what a run that was interrupted has done'),
    defineRoute({
      method: 'POST',
      path: `${prefix}/runs/{id}/resume`,
      summary: 'Begins a run that was interrupted again, from its first step',
      tag: TAG,
      access: change,
      request: { params: runParams, body: runChange },
      responses: { 200: { description: 'The run', schema: runAnswer } },
      handle: async ({ params, body, caller }) => {
        await ownRun(runs, params.id, caller);
        const run = await runs.wish(params.id, 'resume', callerOf(caller), body.secrets ?? {});
        return { status: 200, body: runEntry(run) };
      },
    }),
    defineRoute({
      method: 'POST',
      path: `${prefix}/runs/{id}/retry`,
      summary: 'Asks for another run of the same; of each run once',
      tag: TAG,
      access: change,
      request: { params: runParams, body: runChange },
      responses: {
        201: { description: 'The new run, which has begun', schema: runAnswer },
        200: { description: 'The run that was made when this was asked before', schema: runAnswer },
      },
      handle: async ({ params, body, caller }) => {
        const old = await ownRun(runs, params.id, caller);
        if (!possibleWishes(old.state).includes('retry'))
          throw new BrokerError(
            'wish-refused',
            `a run that is ${old.state.phase} is not tried again: ask for a new one`,
          );
        const { host, login, title } = old;
        const what = old.kind === 'command' ? { command: title } : { procedure: title };
        const asked = { host, login, ...what, params: { ...old.params } };
        const secrets = body.secrets === undefined ? {} : { secrets: body.secrets };
        return create(
          caller,
          { ...asked, ...secrets },
          { idempotencyKey: `retry/${old.id}`, retryOf: old.id, mark: markOf(old.steps) },
        );
      },
    }),
  ];
}

/** Throws BrokerError `run-unknown` also for a run of somebody else: it is not there for this caller. */
export async function ownRun(runs: Pick<Runs, 'get'>, id: string, caller: BrokerCaller): Promise<StoredRun> {
  const run = await runs.get(id);
  if (run !== undefined && run.person === caller.person) return run;
  throw new BrokerError('run-unknown', `you have no run ${id}: see \`beacon runs\``);
}

export function callerOf({ person, sessionKey, api }: BrokerCaller): Caller {
  return { person, sessionKey, api };
}

function watch(
  { runs, watchers, stopping, now }: RunRouteParts,
  {
    run,
    after,
    caller,
    signal,
  }: { run: StoredRun; after: number; caller: BrokerCaller; signal: AbortSignal },
): Answer {
  const left = Math.max(0, caller.goodUntil.getTime() - now().getTime());
  const end = AbortSignal.any([signal, stopping, AbortSignal.timeout(Math.min(left, MAX_DELAY_MS))]);
  const leave = watchers.enter(caller.person);
  // The caller has gone when the answer has ended, too.
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted) leave();
  return {
    status: 200,
    headers: eventStreamHeaders,
    stream: eventStream(streamed(runs.events(run.id, after, end)), {
      heartbeatMs: HEARTBEAT_SECONDS * 1000,
      mayGoOn: () => caller.isStillThere(),
      signal: end,
    }),
  };
}

async function* streamed(entries: AsyncIterable<RunLogEntry>): AsyncGenerator<StreamedEvent> {
  for await (const { seq, time, kind, data } of entries) {
    yield { id: seq, event: kind, data: { time: time.toISOString(), ...data } };
  }
}

/** Without what was not given: the filter knows no undefined. */
function given<T extends object>(values: T): { [Key in keyof T]: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]: Exclude<T[Key], undefined>;
  };
}
