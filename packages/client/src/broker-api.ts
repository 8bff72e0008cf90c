/**
 * A broker's API as typed calls: the hosts that a person may use, runs, and the records of a grant. Every call travels
 * with a token for this broker's audience and a proof over the exact body; a refusal is a ClientError `refused`, as at
 * the CA. Secrets travel in the body of a request alone.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunWish } from '@beacon/protocol/run-words';
import {
  type BrokerTrace,
  type Procedure,
  type Runner,
  type RunnerPlace,
  readBrokerTrace,
  readPlace,
  readProcedure,
  readRunner,
  readUsableHost,
  readUsableHostDetail,
  type UsableHost,
  type UsableHostDetail,
} from './broker-answers.ts';
import { type CaRequest, requestAuthorized, requestPublic, streamAuthorized } from './ca-request.ts';
import { ClientError } from './error.ts';
import { defaultOutside, type Outside } from './exchange.ts';
import { json, queryOf, read, segment } from './request-parts.ts';
import { type Run, type RunEvent, readRun } from './run-answers.ts';
import { type FollowOptions, followEvents, RECONNECTING, type Reconnecting } from './run-events.ts';
import { parseServerUrl } from './server-url.ts';
import type { Credentials } from './session.ts';

/** What a broker says of itself. */
export interface BrokerFacts {
  /** Its public URL, without a slash at its end. */
  readonly url: string;
  readonly service: string;
  /** The public URL of the CA whose tokens it takes. */
  readonly ca: string;
}

/** One command of the host, or one procedure. */
export type RunOrder = {
  readonly host: string;
  readonly login?: string;
  readonly params: Readonly<Record<string, string>>;
  readonly secrets?: Readonly<Record<string, string>>;
} & ({ readonly command: string } | { readonly procedure: string });

export interface BrokerApi {
  hosts(): Promise<readonly UsableHost[]>;
  host(id: string): Promise<UsableHostDetail>;
  procedures(): Promise<readonly Procedure[]>;
  /**
   * Asks for a run; the same `key` with the same order is the same run, however often it is asked for. An answer that was
   * lost is asked for again with it.
   */
  createRun(order: RunOrder, key?: string): Promise<{ readonly run: Run; readonly isNew: boolean }>;
  runs(query: Readonly<Record<string, string>>): Promise<readonly Run[]>;
  run(id: string): Promise<Run>;
  /** `resume` and `retry` may need the secrets again. `retry` answers another run. */
  wish(id: string, wish: RunWish, secrets?: Readonly<Record<string, string>>): Promise<Run>;
  /** From the beginning or from behind an event, over lost connections, until the run is over. */
  events(id: string, options?: FollowOptions): AsyncIterable<RunEvent>;
  traceRun(id: string): Promise<BrokerTrace>;
  trace(grant: string): Promise<BrokerTrace>;
  /** Where the person may add runners; `host` is one on which they may configure some. */
  places(host: string): Promise<readonly RunnerPlace[]>;
  runners(host: string, scope: string): Promise<readonly Runner[]>;
}

export interface BrokerOptions {
  readonly url: string;
  /** For the broker's audience: `openBrokerSession`, or `credentialsOf` with tokens that are at hand. */
  readonly credentials: Pick<Credentials, 'proofKey' | 'accessToken'>;
  readonly reconnecting?: Partial<Reconnecting>;
}

const CREATE_ATTEMPTS = 4;
/** The records of a run with several grants. */
const MAX_TRACE_BYTES = 32 * 1024 * 1024;
const MAX_LIST_BYTES = 16 * 1024 * 1024;

/** Reads what a broker says of itself. Throws ClientError. */
export async function discoverBroker(
  address: string,
  outside: Outside = defaultOutside(),
): Promise<BrokerFacts> {
  const url = parseServerUrl(address);
  const facts = read(await requestPublic(outside, `${url}/.well-known/beacon`), "the broker's description");
  facts.integer('v', 1, 1);
  return { url, service: facts.name('service', 'service'), ca: parseServerUrl(facts.text('ca', 2000)) };
}

/** The calls, made with these credentials. */
export function createBrokerApi(options: BrokerOptions, outside: Outside = defaultOutside()): BrokerApi {
  const base = parseServerUrl(options.url);
  const credentials = { ...options.credentials, issuer: base };
  const again = { ...RECONNECTING, ...options.reconnecting };
  const ask = (request: CaRequest) => requestAuthorized(outside, credentials, request);
  const get = async (path: string, place: string, maxBytes?: number) =>
    read(await ask({ method: 'GET', path, ...(maxBytes === undefined ? {} : { maxBytes }) }), place);

  async function createRun(order: RunOrder, key: string) {
    const request: CaRequest = {
      method: 'POST',
      path: '/v1/runs',
      body: json(order),
      headers: { 'idempotency-key': key },
    };
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await ask(request);
        return { run: readRun(read(answer, 'the run')), isNew: answer.status === 201 };
      } catch (error) {
        const isLost =
          error instanceof ClientError && (error.code === 'unreachable' || error.code === 'timed-out');
        if (!isLost || attempt === CREATE_ATTEMPTS) throw error;
        await sleep(again.leastMs * 2 ** (attempt - 1) * (0.5 + again.random() / 2));
      }
    }
  }

  return {
    hosts: async () =>
      (await get('/v1/hosts', 'the hosts', MAX_LIST_BYTES)).objects('hosts').map(readUsableHost),
    host: async (id) => readUsableHostDetail(await get(`/v1/hosts/${segment(id)}`, 'the host')),
    procedures: async () =>
      (await get('/v1/procedures', 'the procedures')).objects('procedures').map(readProcedure),
    createRun: (order, key = randomUUID()) => createRun(order, key),
    runs: async (query) =>
      (await get(`/v1/runs${queryOf(query)}`, 'the runs', MAX_LIST_BYTES)).objects('runs').map(readRun),
    run: async (id) => readRun(await get(`/v1/runs/${segment(id)}`, 'the run')),
    wish: async (id, wish, secrets) => {
      const body = json(secrets === undefined ? {} : { secrets });
      return readRun(
        read(await ask({ method: 'POST', path: `/v1/runs/${segment(id)}/${wish}`, body }), 'the run'),
      );
    },
    events: (id, follow = {}) => {
      const path = `/v1/runs/${segment(id)}/events`;
      const open = (after: number, signal: AbortSignal) =>
        streamAuthorized(outside, credentials, {
          method: 'GET',
          path,
          headers: { accept: 'text/event-stream', 'last-event-id': String(after) },
          signal,
        });
      return followEvents(open, follow, again);
    },
    traceRun: async (id) =>
      readBrokerTrace(await get(`/v1/runs/${segment(id)}/trace`, 'the trace', MAX_TRACE_BYTES)),
    trace: async (grant) =>
      readBrokerTrace(await get(`/v1/trace/${segment(grant)}`, 'the trace', MAX_TRACE_BYTES)),
    places: async (host) =>
      (await get(`/v1/places${queryOf({ host })}`, 'the places', MAX_LIST_BYTES))
        .objects('places')
        .map(readPlace),
    runners: async (host, scope) =>
      (await get(`/v1/runners${queryOf({ host, scope })}`, 'the runners', MAX_LIST_BYTES))
        .objects('runners')
        .map(readRunner),
  };
}
