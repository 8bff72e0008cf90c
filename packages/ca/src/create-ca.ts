/** Assembles a CA from what it needs: the whole of it, without a socket. Tests make it small, `serve` makes it for real. */
import type { RequestListener } from 'node:http';
import { createGitHub, type GitHubSettings } from '@beacon/github';
import {
  consumeProof,
  createApp,
  createGroupCommit,
  createLimits,
  createMetrics,
  createRecords,
  createSealer,
  createWriteCheck,
  type DatabaseOptions,
  descriptionRoute,
  healthRoutes,
  type Limit,
  type Log,
  limitMigrations,
  type Metrics,
  migrate,
  openDatabase,
  proofMigrations,
  type ReadinessNotes,
  type Refusal,
  type Route,
  recordMigrations,
} from '@beacon/server';
import type { Caller } from './access-token.ts';
import { createAuthorizationServer } from './authorization-server.ts';
import type { Ca, Store, Tables, Tx } from './ca.ts';
import { createCaKey, requireReachable, settleCaKey } from './ca-key.ts';
import { caKeyMigrations } from './ca-key-store.ts';
import { certificateRoutes } from './certificate-routes.ts';
import { openClockGuard } from './clock-guard.ts';
import { enrolmentRoutes } from './enrolment-routes.ts';
import { enrolmentMigrations } from './enrolment-store.ts';
import { CaError } from './error.ts';
import { inventoryRoutes } from './inventory-routes.ts';
import type { CaKeys } from './keys.ts';
import { createMemberships } from './memberships.ts';
import { oauthMigrations } from './oauth-store.ts';
import { isDisabled } from './persons.ts';
import { recordRoutes } from './record-routes.ts';
import { reportedHeadMigrations } from './reported-heads-store.ts';
import { DEFAULT_RETENTION, pruneAll, type Retention } from './retention.ts';
import { openRules, type RuleBook, type RuleFiles, recordRules, recordRulesOfStart } from './rules.ts';
import { sessionMigrations } from './session-store.ts';
import { signInMigrations } from './sign-in-store.ts';
import { bumpCounter, caMigrations } from './store.ts';
import { showTrustHealth } from './trust-health.ts';
import { trustRoutes } from './trust-routes.ts';
import { createTrustStatus, type TrustStatusSource } from './trust-status.ts';
import { trustMigrations } from './trust-store.ts';
import { proofReplayed, recordingRefusals, recordRefusal, recordUnreadable } from './write.ts';

export interface CaOptions extends RuleFiles {
  readonly publicUrl: string;
  readonly trustedProxies?: readonly string[];
  /** The SQLite file, `:memory:`, or any store that `openDatabase` takes. */
  readonly store: string | DatabaseOptions;
  readonly keys: CaKeys;
  readonly github: Omit<GitHubSettings, 'now'>;
  readonly sessionMaxHours: number;
  /** How often one address, one service and one person may ask; by default 600, 6,000 and 1,200 times a minute. */
  readonly limits?: { readonly perAddress: Limit; readonly perService?: Limit; readonly perPerson: Limit };
  /** How long what has ended is kept; by default 90 days for certificates, 30 for sessions. */
  readonly retention?: Retention;
  /** Records up to this one do not count for whether the clock went back. Default 0: all count. */
  readonly clockTrustedAfterRecord?: number;
  readonly now?: () => Date;
  readonly log: Log;
  readonly version: string;
}

export interface RunningCa {
  readonly app: RequestListener;
  readonly metrics: Metrics;
  readonly ca: Ca;
  /** Forgets what has expired, and deletes at GitHub the tokens of sessions that are over. Call it every minute. */
  maintain(): Promise<void>;
  /**
   * Takes other rules in place of those that are used, recorded before they count. Rejects, and keeps the last good ones,
   * when they cannot be used; `/readyz` and the figures then say so until a reload succeeds.
   */
  reload(read: () => RuleFiles): Promise<void>;
  /** Waits for what was taken, then gives up the store. */
  close(): Promise<void>;
}

const PER_ADDRESS = { requests: 600, perSeconds: 60 };
const PER_SERVICE = { requests: 6_000, perSeconds: 60 };
const PER_PERSON = { requests: 1_200, perSeconds: 60 };

/** All tables, in the order in which they are made. */
export const migrations = [
  recordMigrations,
  caMigrations,
  proofMigrations,
  oauthMigrations,
  signInMigrations,
  sessionMigrations,
  limitMigrations,
  trustMigrations,
  enrolmentMigrations,
  caKeyMigrations,
  reportedHeadMigrations,
];

/** Throws CaError, ServerError or PolicyError when it cannot serve; nothing is left open then. */
export async function createCa(options: CaOptions): Promise<RunningCa> {
  const now = options.now ?? (() => new Date());
  const rules = openRules(options, { provider: options.github.provider, now });
  const store: Store = openDatabase<Tables>(
    typeof options.store === 'string' ? { file: options.store } : options.store,
  );
  try {
    await migrate(store, ...migrations);
    return await assemble(options, { now, rules, store });
  } catch (error) {
    await store.destroy();
    throw error;
  }
}

type Parts = Pick<Ca, 'now' | 'store'> & { readonly rules: RuleBook };

async function assemble(options: CaOptions, { now, rules, store }: Parts): Promise<RunningCa> {
  const { keys } = options;
  const commit = createGroupCommit<Tables>(store);
  const records = createRecords({ chain: 'ca', now });
  const github = createGitHub({ ...options.github, now });
  const base = {
    now,
    store,
    commit,
    records,
    get policy() {
      return rules.current.policy;
    },
    get services() {
      return rules.current.services;
    },
    userCa: createCaKey({ records }, 'user', openedOf(keys.userCa, keys.userCaNext)),
    hostCa: createCaKey({ records }, 'host', openedOf(keys.hostCa, keys.hostCaNext)),
    trust: keys.trust,
  };
  const limits = createLimits({
    perAddress: options.limits?.perAddress ?? PER_ADDRESS,
    perService: options.limits?.perService ?? PER_SERVICE,
    perCaller: options.limits?.perPerson ?? PER_PERSON,
    database: store,
  });
  const authorization = await createAuthorizationServer({
    issuer: options.publicUrl,
    signingJwk: keys.tokenSigning,
    otherTokenKeys: keys.otherTokens ?? [],
    sealer: createSealer(keys.sealing),
    store,
    commit,
    records,
    services: [...options.services.values()],
    github,
    githubClientId: options.github.clientId,
    now,
    sessionMaxHours: options.sessionMaxHours,
    isDisabled: (person, tx) => isDisabled(base, person, tx as unknown as Tx | undefined),
    onServiceProven: limits.service,
    log: options.log,
  });
  const { sessions } = authorization;
  const clock = await openClockGuard(base, options.clockTrustedAfterRecord ?? 0);
  await commit.write((tx) => recordRulesOfStart(records, tx, rules.current));
  await commit.write(async (tx) => {
    await settleCaKey(base, tx, base.userCa);
    await settleCaKey(base, tx, base.hostCa);
  });
  const ca: Ca = Object.assign(
    base,
    { sessions, requireClock: () => clock.require() },
    createMemberships({ sessions, github, now }),
  );
  const metrics = createMetrics();
  showRules(metrics, rules);
  metrics.gauge(
    'beacon_clock_behind_seconds',
    'How far the clock is behind the latest time that this CA has recorded or signed by',
    () => clock.behindMs / 1000,
  );
  showTrustHealth(metrics, ca);
  const trustStatus = createTrustStatus(ca);
  const notes = { rules: () => (rules.failure === undefined ? 'current' : 'last-good') };
  const routes = caRoutes(ca, options, notes, trustStatus);
  const app = createApp<Caller>({
    routes,
    authenticate: async (credentials, access) => {
      const caller = await authorization.authenticate(credentials);
      if (access === 'read' && !(await commit.write((tx) => consumeProof(tx, caller.proof)))) {
        const error = proofReplayed();
        const { method, path, ip } = credentials.request;
        await recordRefusal(ca, caller, error, { facts: { method, path }, ip });
        throw error;
      }
      return caller;
    },
    onRefused: (refused) => recordUnreadable(ca, refused),
    callerKey: (caller) => caller.person,
    // The command line is in no list of services, and proves nothing of itself.
    serviceKey: ({ service }) => (base.services.has(service) ? service : undefined),
    toProblem,
    log: options.log,
    metrics,
    limits,
    publicUrl: options.publicUrl,
    trustedProxies: options.trustedProxies ?? [],
    mount: [{ handler: authorization.router }],
    now,
  });
  return {
    app,
    metrics,
    ca,
    async maintain() {
      await authorization.maintain();
      await trustStatus.current();
      const pruned = await pruneAll(commit.write, now, options.retention ?? DEFAULT_RETENTION);
      if (pruned.certificates + pruned.sessions > 0)
        options.log.info(pruned, 'what ended long ago was pruned');
    },
    async reload(read) {
      await rules.reload(read, async (wanted) => {
        authorization.checkServices(wanted.services);
        await commit.write((tx) => recordRules(records, tx, wanted));
        authorization.replaceServices(wanted.services);
      });
    },
    async close() {
      await commit.close();
      await store.destroy();
      rules.close();
    },
  };
}

function openedOf<Key>(key: Key, next: Key | undefined): readonly [Key, ...Key[]] {
  return next === undefined ? [key] : [key, next];
}

function showRules(metrics: Metrics, rules: RuleBook): void {
  metrics.gauge(
    'beacon_rules_reload_failed',
    'Whether the last reload of policy, inventory and services failed, so that older ones are in use',
    () => (rules.failure === undefined ? 0 : 1),
  );
  metrics.gauge(
    'beacon_rules_loaded_timestamp_seconds',
    'When the policy, inventory and services in use were loaded',
    () => rules.loadedAt.getTime() / 1000,
  );
}

function caRoutes(
  ca: Ca,
  options: CaOptions,
  notes: ReadinessNotes,
  trustStatus: TrustStatusSource,
): readonly Route[] {
  const canWrite = createWriteCheck(ca.commit, (tx) => bumpCounter(tx, 'readiness'));
  const routes = [
    ...certificateRoutes(ca),
    ...trustRoutes(ca, trustStatus),
    ...enrolmentRoutes(ca, options.log),
    ...inventoryRoutes(ca),
    ...recordRoutes(ca, { tokenSigning: options.keys.tokenSigning }),
    ...healthRoutes(
      {
        store: async () => {
          await ca.records.head(ca.store);
          await canWrite();
        },
        signers: async () => {
          await requireReachable(ca, ca.userCa);
          await requireReachable(ca, ca.hostCa);
        },
      },
      options.log,
      notes,
    ),
  ].map((route) => recordingRefusals(ca, route));
  const { version, publicUrl: server } = options;
  return [...routes, descriptionRoute({ title: 'Beacon certificate authority', version, server, routes })];
}

function toProblem(error: unknown): Refusal | undefined {
  if (!(error instanceof CaError)) return undefined;
  return {
    kind: error.kind,
    code: error.code,
    detail: error.message,
    ...(error.denial === undefined ? {} : { denial: error.denial }),
    ...(error.retryAfterMs === undefined
      ? {}
      : { headers: { 'retry-after': String(Math.max(1, Math.ceil(error.retryAfterMs / 1000))) } }),
    ...(error.kind === 'unauthenticated' ? { headers: { 'www-authenticate': challenge(error) } } : {}),
  };
}

/** RFC 9449 section 7.1. */
function challenge(error: CaError): string {
  const what = /^(key-)?proof-/.test(error.code) ? 'invalid_dpop_proof' : 'invalid_token';
  return error.code === 'token-missing'
    ? 'DPoP algs="EdDSA ES256"'
    : `DPoP error="${what}", algs="EdDSA ES256"`;
}
