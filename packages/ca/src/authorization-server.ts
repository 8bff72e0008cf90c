/**
 * The CA as an OAuth 2.0 authorization server with GitHub behind it (DESIGN.md section 3.1), assembled: one handler for
 * everything below `/oauth`, `/device`, `/interaction`, `/sign-in`, `/sign-out` and the metadata, one function that tells
 * who calls the API, and the sessions. What oidc-provider would answer besides the paths listed here is not reachable.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { GitHub } from '@beacon/github';
import {
  type Database,
  type GroupCommit,
  type Log,
  type ProofTables,
  pruneProofs,
  type Records,
  type RecordTables,
  type Sealer,
  sendPage,
  type Transaction,
} from '@beacon/server';
import type { JWK } from 'jose';
import { type Authenticate, createAuthenticate } from './access-token.ts';
import { PROVIDER_ROUTES, paths } from './authorization-paths.ts';
import { createAuthorizationProvider } from './authorization-provider.ts';
import { createBrowserSessions } from './browser-session.ts';
import { createDevicePages } from './device-pages.ts';
import { createGithubSignIn } from './github-sign-in.ts';
import { createInteractions } from './interaction.ts';
import { COMMAND_LINE_CLIENT, type OauthService } from './oauth-client.ts';
import { createOauthStore, type OauthTables, pruneArtifacts, revokeArtifacts } from './oauth-store.ts';
import { countServices } from './service-limit.ts';
import { createSessions, type Session, type Sessions } from './session.ts';
import { recordSessions } from './session-records.ts';
import type { SessionTables } from './session-store.ts';
import { createSignInRoutes } from './sign-in-routes.ts';
import { pruneSignIns, SignInStore, type SignInTables } from './sign-in-store.ts';
import { registerTokenExchange } from './token-exchange.ts';
import { createTokenKeys, type OtherTokenKey } from './token-keys.ts';
import { recordTokenRefusals } from './token-refusals.ts';

/** The tables that this half of the CA needs in its store. */
export type AuthorizationTables = SessionTables & OauthTables & SignInTables & ProofTables;

export interface AuthorizationServerOptions {
  /** The configured public URL, without a path. */
  readonly issuer: string;
  /** A private Ed25519 JWK with `kid`: signs tokens for brokers. */
  readonly signingJwk: JWK & { readonly kid: string };
  /** The next key and former ones: shown, and believed as `token-keys.ts` says. */
  readonly otherTokenKeys?: readonly OtherTokenKey[];
  readonly sealer: Sealer;
  readonly store: Database<AuthorizationTables & RecordTables>;
  readonly commit: Pick<GroupCommit<AuthorizationTables & RecordTables>, 'write'>;
  readonly records: Pick<Records, 'append' | 'hide'>;
  readonly services: readonly OauthService[];
  readonly github: Pick<GitHub, 'urls' | 'exchangeCode' | 'checkToken' | 'readIdentity' | 'deleteToken'>;
  readonly githubClientId: string;
  readonly now: () => Date;
  /** At most 8. */
  readonly sessionMaxHours: number;
  /** `tx`: as that transaction sees it. */
  readonly isDisabled: (person: string, tx?: Transaction<RecordTables>) => Promise<boolean>;
  /** Hears of each token that a service got, with the service's id and the address it asked from. */
  readonly onServiceProven: (service: string, address: string) => Promise<void>;
  readonly log: Pick<Log, 'warn' | 'error'>;
}

export interface AuthorizationServer {
  /** Answers the paths of this file, calls `next` for all others. Must see the body unread. */
  readonly router: (
    request: IncomingMessage,
    response: ServerResponse,
    next: (error?: unknown) => void,
  ) => void;
  readonly authenticate: Authenticate;
  readonly sessions: Sessions;
  /** Throws for services that make no sense as clients. */
  checkServices(services: ReadonlyMap<string, OauthService>): void;
  /** Takes these services in place of those that were. */
  replaceServices(services: ReadonlyMap<string, OauthService>): void;
  /** Forgets what has expired and deletes at GitHub the tokens of sessions that are over. Call it every minute or so. */
  maintain(): Promise<void>;
}

/** Throws TypeError for an issuer with a path, and what oidc-provider throws for clients that make no sense. */
export async function createAuthorizationServer(
  options: AuthorizationServerOptions,
): Promise<AuthorizationServer> {
  const { issuer, store, sealer, now, github, isDisabled, log, records } = options;
  const { write } = options.commit;
  if (new URL(issuer).origin !== issuer) throw new TypeError(`the public URL ${issuer} must have no path`);
  const services = new Map(options.services.map((service) => [service.id, service]));

  const sessions = createSessions({
    database: store,
    write,
    sealer,
    now,
    maxHours: options.sessionMaxHours,
    isDisabled: (person, tx) => isDisabled(person, tx),
    deleteToken: (token) => github.deleteToken(token),
    onDeletionFailed: (session, error) =>
      log.warn({ err: error, session: session.id }, 'a GitHub token could not be deleted yet'),
    ...recordSessions(records),
  });
  const oauthStore = createOauthStore({
    database: store,
    write,
    sealer,
    now,
    onGrantRevoked: async (grantKey) => {
      await write(async (tx) => {
        await revokeArtifacts(tx, grantKey);
        await sessions.endOfGrant(tx, grantKey, 'revocation');
      });
      releaseSoon();
    },
  });
  const signIns = new SignInStore({ database: store, write, sealer, now });
  const devicePages = createDevicePages({
    services,
    signIns,
    addressOf,
    onError: (error) => log.error({ err: error }, 'a right code still counts as a wrong one'),
  });

  const tokenKeys = await createTokenKeys(options.signingJwk, options.otherTokenKeys);
  const { provider, rememberSession, checkClients, checkServices } = createAuthorizationProvider({
    issuer,
    signingJwk: options.signingJwk,
    otherJwks: tokenKeys.others,
    adapter: oauthStore.adapter,
    polledTooSoon: oauthStore.polledTooSoon,
    services,
    sessions,
    isAllowed,
    isDisabled,
    now,
    maxHours: options.sessionMaxHours,
    pages: devicePages,
    clientAddress: (ctx) => addressOf(ctx.req),
    onError: (error) => log.error({ err: error }, 'the authorization server failed'),
  });
  countServices(provider, {
    isService: (id) => services.has(id),
    count: (id, ctx) => options.onServiceProven(id, addressOf(ctx.req)),
  });
  registerTokenExchange(provider, {
    issuer,
    keys: tokenKeys,
    now,
    findSession: async (id) => {
      const session = await sessions.findAlive(id);
      return session !== undefined && (await isAllowed(session)) ? session : undefined;
    },
    onSession: rememberSession,
  });
  recordTokenRefusals(provider, {
    find: oauthStore.find,
    record: async ({ person, client, code, why, path }, ctx) => {
      await write(async (tx) => {
        const source = await records.hide(tx, addressOf(ctx.req), person ?? 'nobody');
        await records.append(tx, {
          kind: 'refused',
          ...(person === undefined ? {} : { person }),
          service: client,
          facts: { code, why, method: 'POST', path, source },
        });
      });
    },
    onError: (error) => log.error({ err: error }, 'a refusal was not recorded'),
  });
  await checkClients();
  const signIn = createGithubSignIn({
    publicUrl: issuer,
    github,
    clientId: options.githubClientId,
    isDisabled,
  });
  const signInRoutes = createSignInRoutes({
    write,
    records,
    github,
    signIn,
    signIns,
    devicePages,
    addressOf,
    toProvider,
    forgetAuthorization,
    log,
  });
  const interactions = createInteractions({
    provider,
    signIn,
    signIns,
    sessions,
    services,
    maxHours: options.sessionMaxHours,
    sendPage,
    onForeignForm: (request, person) => signInRoutes.recordRefusal(request, 'form-foreign', person),
    onDisabled: async (request, { person, githubToken }) => {
      await signInRoutes.recordRefusal(request, 'person-disabled', person);
      await signInRoutes.deleteLoose(githubToken);
    },
  });
  const withBrowser = createBrowserSessions(issuer, sealer.derive('sign-in cookie'), signIns);
  const answerByProvider = provider.callback();

  async function isAllowed(session: Session): Promise<boolean> {
    return (await sessions.findAlive(session.id)) !== undefined && !(await isDisabled(session.person));
  }

  function releaseSoon(): void {
    sessions
      .releaseTokens()
      .catch((error: unknown) => log.error({ err: error }, 'GitHub tokens were not deleted'));
  }

  async function toProvider(request: IncomingMessage, response: ServerResponse): Promise<void> {
    await answerByProvider(request, response);
  }

  /** Each login begins with a clean slate: what oidc-provider's cookie remembers of an earlier one is not shown to it. */
  function forgetAuthorization(request: IncomingMessage): void {
    const name = provider.cookieName('session');
    const kept = (request.headers.cookie ?? '')
      .split(';')
      .map((cookie) => cookie.trim())
      .filter((cookie) => cookie !== '' && !cookie.startsWith(`${name}=`));
    request.headers.cookie = kept.join('; ');
  }

  function route(
    method: string,
    path: string,
  ): ((request: IncomingMessage, response: ServerResponse) => Promise<void>) | undefined {
    const inBrowser = signInRoutes.handlers[`${method} ${path}`];
    if (inBrowser !== undefined) return withBrowser(inBrowser);
    const [, uid] = /^\/interaction\/([A-Za-z0-9_-]{10,64})$/.exec(path) ?? [];
    if (uid !== undefined && method === 'GET')
      return withBrowser((req, res) => interactions.show(req, res, uid));
    if (uid !== undefined && method === 'POST')
      return withBrowser((req, res) => interactions.decide(req, res, uid));
    if (method === 'GET' && (path === paths.authorization || path.startsWith(`${paths.authorization}/`))) {
      return (request, response) => {
        forgetAuthorization(request);
        return toProvider(request, response);
      };
    }
    return PROVIDER_ROUTES.some((pattern) => pattern.test(`${method} ${path}`)) ? toProvider : undefined;
  }

  return {
    sessions,
    authenticate: createAuthenticate({
      store: oauthStore,
      sessions,
      isClient: (id) => id === COMMAND_LINE_CLIENT || services.has(id),
      isDisabled,
      now,
    }),
    router(request, response, next) {
      const answer = route(request.method ?? '', (request.url ?? '/').split('?', 1).join(''));
      if (answer === undefined) return next();
      answer(request, response).catch(next);
    },
    checkServices,
    replaceServices(next) {
      services.clear();
      for (const [id, service] of next) services.set(id, service);
    },
    async maintain() {
      const at = now();
      const unused = await write(async (tx) => {
        await pruneArtifacts(tx, at);
        await pruneProofs(tx, at);
        return pruneSignIns(tx, at, sealer);
      });
      for (const { signIn: left } of unused)
        if (left !== undefined) await signInRoutes.deleteLoose(left.githubToken);
      await sessions.releaseTokens();
    },
  };
}

/** What the app in front has found out, else the peer. */
function addressOf(request: IncomingMessage): string {
  const found = 'ip' in request && typeof request.ip === 'string' ? request.ip : undefined;
  return found ?? request.socket.remoteAddress ?? 'unknown';
}
