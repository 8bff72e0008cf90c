/** Assembles a broker from what it needs: the whole of it, without a socket. Tests make it small, `serve` makes it for real. */
import { randomUUID } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { ClientError, type Outside } from '@beacon/client';
import { createRunners } from '@beacon/github';
import {
  consumeProof,
  createApp,
  createCounter,
  createGroupCommit,
  createLimits,
  createMetrics,
  createRecords,
  createSealer,
  createWriteCheck,
  type Database,
  type DatabaseOptions,
  descriptionRoute,
  type GroupCommit,
  healthRoutes,
  type Limit,
  type Log,
  limitMigrations,
  type Metrics,
  migrate,
  openDatabase,
  type ProofTables,
  proofMigrations,
  pruneProofs,
  type Records,
  type RecordTables,
  type Refusal,
  recordMigrations,
} from '@beacon/server';
import { createAuthenticate } from './authenticate.ts';
import type { BrokerKeys } from './broker-keys.ts';
import { brokerRoutes } from './broker-routes.ts';
import { type CaConnection, caUnavailable, connectCa } from './ca-connection.ts';
import type { BrokerCaller } from './define-route.ts';
import { BrokerError } from './error.ts';
import { createExchanges } from './exchanged.ts';
import { scopeOfRunner } from './made-runners.ts';
import { cookieForm } from './portal-cookie.ts';
import { CALLBACK_PATH, createPortalPages } from './portal-pages.ts';
import { createPortalSessions } from './portal-session.ts';
import { type PortalTables, portalMigrations } from './portal-store.ts';
import type { Procedure } from './procedure.ts';
import { createRunGitHub } from './run-github.ts';
import type { Runs } from './run-order.ts';
import type { RunRetention } from './run-retention.ts';
import type { Dial } from './run-session.ts';
import { createRuns, type RunLimits } from './runs.ts';
import { type RunTables, runMigrations } from './store.ts';
import { createWatchers } from './watchers.ts';

export interface BrokerOptions {
  readonly publicUrl: string;
  readonly trustedProxies?: readonly string[];
  /** The SQLite file, `:memory:`, or any store that `openDatabase` takes. */
  readonly store: string | DatabaseOptions;
  readonly keys: BrokerKeys;
  /** The CA's public URL. */
  readonly ca: string;
  readonly github: { readonly apiUrl: string; readonly webUrl: string; readonly provider: string };
  readonly dial: Dial;
  readonly procedures: ReadonlyMap<string, Procedure>;
  readonly idleMs?: number;
  readonly limits?: {
    readonly perAddress?: Limit;
    readonly perPerson?: Limit;
    readonly watchers?: { readonly inAll: number; readonly perPerson: number };
    readonly runs?: RunLimits;
  };
  readonly retention?: RunRetention;
  /** How the CA is reached. */
  readonly outside: Outside;
  readonly log: Log;
  readonly version: string;
}

export interface RunningBroker {
  readonly app: RequestListener;
  readonly metrics: Metrics;
  readonly runs: Runs;
  readonly store: BrokerStore;
  readonly commit: GroupCommit<BrokerTables>;
  readonly records: Records;
  readonly ca: CaConnection;
  /** Forgets what has expired. Call it every minute. */
  maintain(): Promise<void>;
  /** Takes other procedures in place of those that are used. */
  replaceProcedures(procedures: ReadonlyMap<string, Procedure>): void;
  /** Ends the streams that are open; what is asked for from then on may still be answered. */
  stopWatching(): void;
  /** Leaves the runs that are in work as a death of the process would, and gives up the store. */
  close(): Promise<void>;
}

export type BrokerTables = RunTables & ProofTables & PortalTables & RecordTables;
export type BrokerStore = Database<BrokerTables>;

/** All tables, in the order in which they are made. */
export const migrations = [
  recordMigrations,
  proofMigrations,
  portalMigrations,
  runMigrations,
  limitMigrations,
];

const PER_ADDRESS = { requests: 1_200, perSeconds: 60 };
const PER_PERSON = { requests: 600, perSeconds: 60 };
const LOGINS_PER_ADDRESS = { requests: 30, perSeconds: 60 };
const WATCHERS = { inAll: 1_024, perPerson: 64 };
const IDLE_MS = 3_600_000;

/** Throws BrokerError or ServerError when it cannot serve; nothing is left open then. */
export async function createBroker(options: BrokerOptions): Promise<RunningBroker> {
  const store: BrokerStore = openDatabase<BrokerTables>(
    typeof options.store === 'string' ? { file: options.store } : options.store,
  );
  try {
    await migrate(store, ...migrations);
    return await assemble(options, store);
  } catch (error) {
    await store.destroy();
    throw error;
  }
}

async function assemble(options: BrokerOptions, store: BrokerStore): Promise<RunningBroker> {
  const { outside, publicUrl, log, keys } = options;
  const { now } = outside;
  const commit = createGroupCommit<BrokerTables>(store);
  const records = createRecords({ chain: 'broker', now });
  const sealer = createSealer(keys.sealing);
  const ca = connectCa({ url: options.ca, service: keys.service, outside });
  const exchanges = createExchanges(ca);
  const runners = createRunners({ ...options.github, now });
  const runStore = store as unknown as Database<RunTables & RecordTables>;
  const runCommit = commit as unknown as GroupCommit<RunTables & RecordTables>;
  const runs: Runs = createRuns({
    store: runStore,
    commit: runCommit,
    records,
    dial: options.dial,
    github: createRunGitHub({ runners, now, scopeOf: (host, name) => scopeOfRunner(runs, host, name) }),
    now,
    log,
    ...(options.retention === undefined ? {} : { retention: options.retention }),
    ...(options.limits?.runs === undefined ? {} : { limits: options.limits.runs }),
  });
  const portal = createPortalSessions({
    ca,
    store: store as unknown as Database<PortalTables>,
    commit: commit as unknown as GroupCommit<PortalTables>,
    sealer,
    redirectUri: `${publicUrl}${CALLBACK_PATH}`,
    idleMs: options.idleMs ?? IDLE_MS,
  });
  const cookie = cookieForm(publicUrl, 'beacon', 'Strict');
  const watchers = createWatchers(options.limits?.watchers ?? WATCHERS);
  const stopping = new AbortController();
  let { procedures } = options;
  const metrics = createMetrics();
  metrics.gauge('beacon_watchers', 'Streams of events that are open', () => watchers.open);
  metrics.gauge('beacon_exchanged_sessions', 'Sessions that a token was exchanged for', () => exchanges.size);
  const routes = brokerRoutes({
    runs,
    watchers,
    stopping: stopping.signal,
    ordering: () => ({ procedures, runners, sealer }),
    procedures: () => procedures,
    service: keys.service.clientId,
    ca: options.ca,
    cookie,
    runners,
    dial: options.dial,
    store: runStore,
    commit: runCommit,
    records,
    now,
  });
  const canWrite = createWriteCheck(commit, (tx) =>
    consumeProof(tx, { thumbprint: 'readiness', jti: randomUUID(), expiresAt: new Date(0) }),
  );
  const notes = { ca: () => (ca.isKnown ? 'known' : 'not-reached') };
  const goesOn = async (): Promise<void> => {
    if (runs.isStopping) throw new BrokerError('stopping', 'the broker is stopping: no new runs are taken');
  };
  const health = healthRoutes({ store: () => canWrite(), runs: goesOn }, log, notes);
  const app = createApp<BrokerCaller>({
    routes: [
      ...routes.programs,
      ...routes.portal,
      ...health,
      descriptionRoute({
        title: 'Beacon broker',
        version: options.version,
        server: publicUrl,
        // What is below `/v1`; the portal's `/api` is the same behind a cookie, and changes with the portal.
        routes: [...routes.programs, ...health],
      }),
    ],
    authenticate: createAuthenticate({
      publicUrl,
      ca,
      commit: commit as unknown as GroupCommit<ProofTables>,
      exchanges,
      portal,
      cookie,
    }),
    callerKey: ({ person }) => person,
    toProblem,
    log,
    metrics,
    limits: createLimits({
      perAddress: options.limits?.perAddress ?? PER_ADDRESS,
      perCaller: options.limits?.perPerson ?? PER_PERSON,
      database: store,
    }),
    publicUrl,
    trustedProxies: options.trustedProxies ?? [],
    mount: [
      {
        handler: createPortalPages({
          publicUrl,
          service: keys.service.clientId,
          sessions: portal,
          cookie,
          countLogin: createCounter(LOGINS_PER_ADDRESS, { name: 'login', database: store }),
          now,
          log,
        }),
      },
    ],
    now,
  });
  return {
    app,
    metrics,
    runs,
    store,
    commit,
    records,
    ca,
    async maintain() {
      exchanges.prune();
      await commit.write((tx) => pruneProofs(tx, now()));
      await portal.maintain();
      await runs.maintain();
    },
    replaceProcedures(next) {
      procedures = next;
    },
    stopWatching: () => stopping.abort(),
    async close() {
      stopping.abort();
      await runs.close();
      await commit.close();
      await store.destroy();
    },
  };
}

/** What an error says over the wire; the app knows its own package's. */
export function toProblem(error: unknown): Refusal | undefined {
  if (error instanceof BrokerError) {
    const { kind, code, message, retryAfterMs } = error;
    const challenge = challengeOf(error);
    const headers = {
      ...(retryAfterMs === undefined
        ? {}
        : { 'retry-after': String(Math.max(1, Math.ceil(retryAfterMs / 1000))) }),
      ...(challenge === undefined ? {} : { 'www-authenticate': challenge }),
    };
    return { kind, code, detail: message, ...(Object.keys(headers).length === 0 ? {} : { headers }) };
  }
  if (!(error instanceof ClientError)) return undefined;
  const { kind, problem, message } = error;
  // What went wrong at the CA went wrong there, whatever it calls it.
  if (kind === 'internal') {
    const detail = `the certificate authority did not answer as it should (${problem?.id ?? error.code}): tell its operator`;
    return { kind: 'unavailable', code: 'ca-unavailable', detail };
  }
  if (kind === 'unavailable') return { kind, code: 'ca-unavailable', detail: caUnavailable(error).message };
  if (kind === 'unauthenticated')
    return {
      kind,
      code: 'session-ended',
      detail: 'your session has ended: log in again',
      headers: { 'www-authenticate': INVALID_TOKEN },
    };
  return {
    kind,
    code: problem?.code ?? error.code,
    detail: message,
    ...(problem?.denial === undefined ? {} : { denial: problem.denial }),
  };
}

const INVALID_TOKEN = 'DPoP error="invalid_token", algs="EdDSA ES256"';

/** RFC 9449 section 7.1. */
function challengeOf({ code }: BrokerError): string | undefined {
  switch (code) {
    case 'not-logged-in':
      return 'DPoP algs="EdDSA ES256"';
    case 'token-invalid':
    case 'session-ended':
      return INVALID_TOKEN;
    case 'proof-invalid':
      return 'DPoP error="invalid_dpop_proof", algs="EdDSA ES256"';
    default:
      return undefined;
  }
}
