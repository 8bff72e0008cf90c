/**
 * The portal's sessions (DESIGN.md section 3.1): a login by authorization code and PKCE at the CA, then tokens that are
 * sealed in the store and renewed there, one process at a time. A session ends with the person's at the CA, when it has
 * not been used for a while, and when somebody logs out; then the row is gone.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CaApi,
  ClientError,
  exportProofKey,
  finishAuthorization,
  generateProofKey,
  importProofKey,
  openSession,
  type SessionStorage,
  type StartedAuthorization,
  type StoredProofKey,
  type StoredSession,
  startAuthorization,
  storedSession,
} from '@beacon/client';
import { CA_AUDIENCE } from '@beacon/protocol/name';
import type { GroupCommit, Sealer } from '@beacon/server';
import { type CaConnection, caUnavailable } from './ca-connection.ts';
import { isForgotten, isOver, requireStanding, type Standing } from './ca-standing.ts';
import { BrokerError } from './error.ts';
import { newTicket, rowOf, sealerOf, type Ticket } from './portal-cookie.ts';
import {
  beginRenewal,
  deleteSession,
  endRenewal,
  findSession,
  insertLogin,
  insertSession,
  type PortalDatabase,
  type PortalTables,
  prunePortal,
  seeSession,
  takeLogin,
} from './portal-store.ts';

/** Somebody who is logged in here by browser. */
export interface PortalSession {
  readonly person: string;
  /** The login name at the provider; only shown. */
  readonly name: string;
  /** At the CA. */
  readonly session: string;
  readonly endsAt: Date;
  readonly api: CaApi;
  /** Proves that a form is of this session's own page. */
  readonly formKey: string;
}

/**
 * What somebody comes for: `use` puts off the end of a session that is not used, `watch` does not, so that a page left open
 * keeps nobody logged in, and to `leave` no word of the CA is needed.
 */
export type Visit = 'use' | 'watch' | 'leave';

export interface PortalSessions {
  /** Where to send the browser, and what it is to keep until it comes back. */
  beginLogin(returnTo: string): Promise<{ readonly url: string; readonly ticket: Ticket }>;
  /**
   * Takes the answer with which the browser came back. Throws BrokerError `login-failed`, `ca-unavailable`; nothing is
   * redeemed for another browser's answer.
   */
  finishLogin(
    ticket: Ticket | undefined,
    query: URLSearchParams,
  ): Promise<{
    readonly ticket: Ticket;
    readonly endsAt: Date;
    readonly returnTo: string;
    readonly name: string;
  }>;
  /** Throws BrokerError `ca-unavailable`; undefined when there is no such session any more. Default `use`. */
  find(ticket: Ticket, why?: Visit): Promise<PortalSession | undefined>;
  /** Ends the session here, and at the CA too; false when the CA could not be told. */
  end(ticket: Ticket): Promise<boolean>;
  /** Ends it here alone: another login takes its place. */
  forget(ticket: Ticket): Promise<void>;
  maintain(): Promise<void>;
}

export interface PortalSessionOptions {
  readonly ca: CaConnection;
  readonly store: PortalDatabase;
  readonly commit: Pick<GroupCommit<PortalTables>, 'write'>;
  readonly sealer: Sealer;
  /** Where the CA sends browsers back to. */
  readonly redirectUri: string;
  readonly idleMs: number;
}

interface LoginContent {
  readonly started: StartedAuthorization;
  readonly key: StoredProofKey;
  readonly returnTo: string;
}

interface SessionContent {
  readonly name: string;
  readonly session: string;
  readonly login: Omit<StoredSession, 'accessTokenExpiresAt'> & { readonly accessTokenExpiresAt: string };
}

/** How long a person may take over the CA's pages. */
const LOGIN_MS = 900_000;
const SEEN_EVERY_MS = 60_000;
const RENEWAL_MS = 45_000;
const RENEWAL_WAIT_MS = 100;

export function createPortalSessions(options: PortalSessionOptions): PortalSessions {
  const { ca, store, sealer, redirectUri } = options;
  const { write } = options.commit;
  const { outside } = ca;
  const nowMs = () => outside.now().getTime();
  /** When the CA last confirmed a session, by row. Neither ids nor keys are kept. */
  const standings = new Map<string, Standing>();

  const place = (kind: 'login' | 'session', row: string) => `portal ${kind} ${row}`;

  function openContent(ticket: Ticket, sealed: string): SessionContent | undefined {
    try {
      const text = sealerOf(ticket, sealer).open(sealed, place('session', rowOf(ticket)));
      return JSON.parse(text.toString('utf8')) as SessionContent;
    } catch {
      // Another key than the row was sealed with: the id alone is nobody's session.
      return undefined;
    }
  }

  function sealContent(ticket: Ticket, content: SessionContent): string {
    return sealerOf(ticket, sealer).seal(JSON.stringify(content), place('session', rowOf(ticket)));
  }

  async function readContent(ticket: Ticket): Promise<SessionContent | undefined> {
    const row = await findSession(store, rowOf(ticket));
    return row === undefined || row.ends_at <= nowMs() ? undefined : openContent(ticket, row.sealed);
  }

  /** The tokens in the row, renewed by one process at a time. */
  function storageOf(ticket: Ticket): SessionStorage {
    const row = rowOf(ticket);
    return {
      read: async () => loginOf(await readContent(ticket)),
      async update(change) {
        await untilMine(row);
        let sealed: string | undefined;
        try {
          const content = await readContent(ticket);
          const before = loginOf(content);
          const after = await change(before);
          if (content !== undefined && after !== before)
            sealed = sealContent(ticket, { ...content, login: keptLogin(after) });
          return after;
        } finally {
          await write((tx) => endRenewal(tx, row, sealed));
        }
      },
    };
  }

  async function untilMine(row: string): Promise<void> {
    const end = nowMs() + RENEWAL_MS;
    for (;;) {
      const now = nowMs();
      if (await write((tx) => beginRenewal(tx, row, now, now + RENEWAL_MS))) return;
      if ((await findSession(store, row)) === undefined) return;
      if (now > end) throw caUnavailable(new Error('the tokens of a session are being renewed for too long'));
      await sleep(RENEWAL_WAIT_MS);
    }
  }

  async function apiOf(ticket: Ticket): Promise<CaApi> {
    return ca.apiOf(await openSession(storageOf(ticket), outside, ca.service));
  }

  async function forget(ticket: Ticket): Promise<void> {
    standings.delete(rowOf(ticket));
    await write((tx) => deleteSession(tx, rowOf(ticket)));
  }

  return {
    async beginLogin(returnTo) {
      const metadata = await ca.metadata();
      const started = startAuthorization({
        metadata,
        clientId: ca.service.clientId,
        redirectUri,
        resources: [CA_AUDIENCE],
      });
      const ticket = newTicket();
      const content: LoginContent = { started, key: exportProofKey(generateProofKey()), returnTo };
      const row = rowOf(ticket);
      const sealed = sealerOf(ticket, sealer).seal(JSON.stringify(content), place('login', row));
      await write((tx) => insertLogin(tx, { id_hash: row, sealed, ends_at: nowMs() + LOGIN_MS }));
      return { url: started.url, ticket };
    },

    async finishLogin(loginTicket, query) {
      const { started, key, returnTo } = await takeBegun(loginTicket);
      const metadata = await ca.metadata();
      const proofKey = importProofKey(key);
      const tokens = await finishAuthorization({
        metadata,
        service: ca.service,
        redirectUri,
        query,
        started,
        proofKey,
        resource: CA_AUDIENCE,
        outside,
      }).catch((error: unknown) => {
        throw loginFailed(error);
      });
      const login = storedSession(
        { issuer: ca.url, clientId: ca.service.clientId, tokenEndpoint: metadata.tokenEndpoint, key },
        tokens,
      );
      const fixed: SessionStorage = { read: async () => login, update: async (change) => change(login) };
      const api = ca.apiOf(await openSession(fixed, outside, ca.service));
      const { session } = await api.whoami().catch((error: unknown) => {
        throw loginFailed(error);
      });
      const ticket = newTicket();
      const sealed = sealContent(ticket, {
        name: session.name,
        session: session.id,
        login: keptLogin(login),
      });
      const row = rowOf(ticket);
      await write((tx) =>
        insertSession(tx, {
          id_hash: row,
          person: session.person,
          sealed,
          seen_at: nowMs(),
          ends_at: session.endsAt.getTime(),
        }),
      );
      standings.set(row, { confirmedAt: outside.now() });
      return { ticket, endsAt: session.endsAt, returnTo, name: session.name };
    },

    async find(ticket, why = 'use') {
      const row = await findSession(store, rowOf(ticket));
      if (row === undefined) return undefined;
      const now = nowMs();
      const content = openContent(ticket, row.sealed);
      // Whoever has the id alone neither uses a session nor ends it.
      if (content === undefined) return undefined;
      if (row.ends_at <= now || row.seen_at + options.idleMs <= now) {
        await forget(ticket);
        return undefined;
      }
      const api = await apiOf(ticket).catch((error: unknown) => {
        if (error instanceof ClientError && error.code === 'session-missing') return undefined;
        throw error;
      });
      if (api === undefined) return undefined;
      const standing = standings.get(row.id_hash) ?? { confirmedAt: new Date(0) };
      standings.set(row.id_hash, standing);
      try {
        if (why !== 'leave') await requireStanding(standing, api, outside.now);
      } catch (error) {
        if (!(error instanceof BrokerError && error.code === 'session-ended')) throw error;
        await forget(ticket);
        return undefined;
      }
      if (why === 'use' && now - row.seen_at >= SEEN_EVERY_MS)
        await write((tx) => seeSession(tx, row.id_hash, now));
      return {
        person: row.person,
        name: content.name,
        session: content.session,
        endsAt: new Date(row.ends_at),
        api,
        formKey: sealerOf(ticket, sealer).derive('form').toString('base64url'),
      };
    },

    async end(ticket) {
      const content = await readContent(ticket);
      if (content === undefined) return true;
      const told = await apiOf(ticket)
        .then((api) => api.endSession(content.session))
        .then(
          () => true,
          (error: unknown) => isOver(error),
        );
      await forget(ticket);
      return told;
    },

    forget,

    async maintain() {
      const now = nowMs();
      await write((tx) => prunePortal(tx, now, now - options.idleMs));
      for (const [row, standing] of standings)
        if (isForgotten(standing, outside.now())) standings.delete(row);
    },
  };

  async function takeBegun(ticket: Ticket | undefined): Promise<LoginContent> {
    const row = ticket === undefined ? undefined : await write((tx) => takeLogin(tx, rowOf(ticket)));
    if (ticket === undefined || row === undefined || row.ends_at <= nowMs()) throw loginFailed(undefined);
    try {
      const text = sealerOf(ticket, sealer).open(row.sealed, place('login', row.id_hash));
      return JSON.parse(text.toString('utf8')) as LoginContent;
    } catch (error) {
      throw loginFailed(error);
    }
  }
}

function loginOf(content: SessionContent | undefined): StoredSession | undefined {
  if (content === undefined) return undefined;
  return { ...content.login, accessTokenExpiresAt: new Date(content.login.accessTokenExpiresAt) };
}

function keptLogin(login: StoredSession): SessionContent['login'] {
  return { ...login, accessTokenExpiresAt: login.accessTokenExpiresAt.toISOString() };
}

function loginFailed(cause: unknown): BrokerError {
  if (cause instanceof ClientError && cause.kind === 'unavailable') return caUnavailable(cause);
  const why =
    cause instanceof ClientError
      ? cause.message
      : 'this answer belongs to no login that was begun in this browser';
  return new BrokerError('login-failed', `nobody was logged in: ${why}`, { cause });
}
