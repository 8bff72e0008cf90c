/** Assembles a CA from what it needs: the whole of it, without a socket. Tests make it small, `serve` makes it for real. */
import type { RequestListener } from 'node:http';
import { createGitHub, type GitHubSettings } from '@beacon/github';
import { createPolicyEngine, type Inventory, type PolicyFile } from '@beacon/policy';
import { createOpenApiDocument } from '@beacon/protocol/http/openapi';
import {
  createApp,
  createGroupCommit,
  createLimits,
  createMetrics,
  createRecords,
  createSealer,
  defineRoute as definePublicRoute,
  healthRoutes,
  type Log,
  type Metrics,
  migrate,
  openDatabase,
  type Refusal,
  type Route,
  recordMigrations,
} from '@beacon/server';
import type { Caller } from './access-token.ts';
import { createAuthorizationServer } from './authorization-server.ts';
import type { Ca, Store, Tables } from './ca.ts';
import { certificateRoutes } from './certificate-routes.ts';
import type { Service } from './configuration.ts';
import { CaError } from './error.ts';
import { inventoryRoutes } from './inventory-routes.ts';
import type { CaKeys } from './keys.ts';
import { createMemberships } from './memberships.ts';
import { oauthMigrations } from './oauth-store.ts';
import { isDisabled } from './persons.ts';
import { consumeProof, proofMigrations } from './proof-store.ts';
import { recordRoutes } from './record-routes.ts';
import { sessionMigrations } from './session-store.ts';
import { signInMigrations } from './sign-in-store.ts';
import { caMigrations } from './store.ts';
import { recordingRefusals } from './write.ts';

export interface CaOptions {
  readonly publicUrl: string;
  readonly trustedProxies?: readonly string[];
  /** The SQLite file, or `:memory:`. */
  readonly store: string;
  readonly keys: CaKeys;
  readonly github: Omit<GitHubSettings, 'now'>;
  readonly services: ReadonlyMap<string, Service>;
  readonly policies: readonly PolicyFile[];
  readonly inventory: Inventory;
  readonly sessionMaxHours: number;
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
  /** Waits for what was taken, then gives up the store. */
  close(): Promise<void>;
}

/** How often one address and one person may ask. */
const PER_ADDRESS = { requests: 600, perSeconds: 60 };
const PER_PERSON = { requests: 300, perSeconds: 60 };

/** All tables, in the order in which they are made. */
export const migrations = [
  recordMigrations,
  caMigrations,
  proofMigrations,
  oauthMigrations,
  signInMigrations,
  sessionMigrations,
];

/** Throws CaError, ServerError or PolicyError when it cannot serve; nothing is left open then. */
export async function createCa(options: CaOptions): Promise<RunningCa> {
  const now = options.now ?? (() => new Date());
  const policy = createPolicyEngine({
    files: options.policies,
    inventory: options.inventory,
    provider: options.github.provider,
  });
  const store: Store = openDatabase<Tables>({ file: options.store });
  try {
    await migrate(store, ...migrations);
    return assemble(options, { now, policy, store });
  } catch (error) {
    await store.destroy();
    throw error;
  }
}

type Parts = Pick<Ca, 'now' | 'policy' | 'store'>;

async function assemble(options: CaOptions, { now, policy, store }: Parts): Promise<RunningCa> {
  const { keys } = options;
  const commit = createGroupCommit<Tables>(store);
  const records = createRecords({ chain: 'ca', now });
  const github = createGitHub({ ...options.github, now });
  const base = {
    now,
    store,
    commit,
    records,
    policy,
    services: options.services,
    userCa: keys.userCa,
    hostCa: keys.hostCa,
  };
  const authorization = await createAuthorizationServer({
    issuer: options.publicUrl,
    signingJwk: keys.tokenSigning,
    sealer: createSealer(keys.sealing),
    store,
    commit,
    records,
    services: [...options.services.values()],
    github,
    githubApp: { clientId: options.github.clientId, clientSecret: options.github.clientSecret },
    now,
    sessionMaxHours: options.sessionMaxHours,
    isDisabled: (person) => isDisabled(base, person),
    log: options.log,
  });
  const { sessions } = authorization;
  const ca: Ca = { ...base, sessions, ...createMemberships({ sessions, policy, github, now }) };
  const metrics = createMetrics();
  const routes = caRoutes(ca, options);
  const app = createApp<Caller>({
    routes,
    authenticate: async (credentials, access) => {
      const caller = await authorization.authenticate(credentials);
      if (access === 'read' && !(await commit.write((tx) => consumeProof(tx, caller.proof)))) {
        throw new CaError(
          'proof-replayed',
          'this DPoP proof was used before: make a new one for each request',
        );
      }
      return caller;
    },
    callerKey: (caller) => caller.person,
    toProblem,
    log: options.log,
    metrics,
    limits: createLimits({ perAddress: PER_ADDRESS, perCaller: PER_PERSON }),
    publicUrl: options.publicUrl,
    trustedProxies: options.trustedProxies ?? [],
    mount: [{ handler: authorization.router }],
    now,
  });
  return {
    app,
    metrics,
    ca,
    maintain: () => authorization.maintain(),
    async close() {
      await commit.close();
      await store.destroy();
      policy.close();
    },
  };
}

function caRoutes(ca: Ca, options: CaOptions): readonly Route[] {
  const routes = [
    ...certificateRoutes(ca),
    ...inventoryRoutes(ca),
    ...recordRoutes(ca, { tokenSigning: options.keys.tokenSigning }),
    ...healthRoutes(
      {
        store: async () => void (await ca.records.head(ca.store)),
        signers: async () => {
          await ca.userCa.ready?.();
          await ca.hostCa.ready?.();
        },
      },
      options.log,
    ),
  ].map((route) => recordingRefusals(ca, route));
  const document = createOpenApiDocument({
    title: 'Beacon certificate authority',
    version: options.version,
    server: options.publicUrl,
    routes,
  });
  return [
    ...routes,
    definePublicRoute({
      method: 'GET',
      path: '/openapi.json',
      summary: 'This document',
      tag: 'operation',
      access: 'public',
      request: {},
      responses: { 200: { description: 'OpenAPI 3.1' } },
      handle: () => ({ status: 200, body: document }),
    }),
  ];
}

function toProblem(error: unknown): Refusal | undefined {
  if (!(error instanceof CaError)) return undefined;
  return {
    kind: error.kind,
    code: error.code,
    detail: error.message,
    ...(error.denial === undefined ? {} : { denial: error.denial }),
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
