/**
 * Beacon sessions (DESIGN.md section 3.1): that one person signed in at GitHub for one client, from when until when. Every
 * token and every grant looks here, so ending a session ends at once whatever was issued under it. The end is durable
 * first; deleting the person's token at GitHub comes after it and is tried again until GitHub has answered.
 */
import { createId } from '@beacon/protocol/id';
import type { Database, GroupCommit, RecordTables, Sealer, Transaction } from '@beacon/server';
import { type OauthTables, revokeArtifacts } from './oauth-store.ts';
import {
  bindKey,
  forgetGithubToken,
  insertSession,
  markEnded,
  readAliveSessions,
  readSession,
  readSessionEnd,
  readSessionOfGrant,
  readUnreleased,
  type SessionRow,
  type SessionTables,
  writeMemberships,
} from './session-store.ts';

/** The tables that sessions live in: their own, that of the tokens that go with them, and the records of both. */
export type SessionStoreTables = SessionTables & OauthTables & RecordTables;

type Tx = Transaction<SessionStoreTables>;

export interface Session {
  readonly id: string;
  /** `<provider>:<numeric id>`. */
  readonly person: string;
  /** The provider's login name as it was at sign-in; for show only. */
  readonly loginName: string;
  readonly client: string;
  /** Thumbprint of the client's key, from its first token on. */
  readonly keyThumbprint: string | undefined;
  readonly startedAt: Date;
  /** The absolute end. */
  readonly endsAt: Date;
  readonly endedAt: Date | undefined;
  readonly endedBy: string | undefined;
  /** JSON as it was last read from the provider. */
  readonly memberships: { readonly text: string; readonly at: Date } | undefined;
}

export interface SessionHooks {
  /** In the commit that begins the session. */
  readonly onSessionBegan?: (tx: Tx, session: Session) => Promise<void>;
  /** In the commit that ends it; `by` as the caller of the end gave it. */
  readonly onSessionEnded?: (tx: Tx, session: Session, by: string) => Promise<void>;
}

export interface SessionOptions extends SessionHooks {
  readonly database: Database<SessionStoreTables>;
  readonly write: GroupCommit<SessionStoreTables>['write'];
  readonly sealer: Sealer;
  readonly now: () => Date;
  /** How long a session lasts; at most 8 hours. */
  readonly maxHours: number;
  /** Whether an administrator has disabled the person, as that transaction sees it. */
  readonly isDisabled: (person: string, tx: Tx) => Promise<boolean>;
  /** Deletes a token at GitHub; rejects when GitHub did not answer. A token that is gone already is no failure. */
  readonly deleteToken: (token: string) => Promise<void>;
  /** Told when a token could not be deleted; it will be tried again. */
  readonly onDeletionFailed?: (session: Session, error: unknown) => void;
}

export interface SessionBeginning {
  readonly person: string;
  readonly loginName: string;
  readonly client: string;
  readonly grantKey: string;
  readonly githubToken: string;
}

/** Functions that take a transaction belong into a commit of the caller's; after an end, call `releaseTokens` when it is on disk. */
export interface Sessions {
  /** Undefined when the person is disabled: they may have been so since they signed in. */
  begin(beginning: SessionBeginning): Promise<Session | undefined>;
  /** The session whatever its state. */
  find(id: string): Promise<Session | undefined>;
  findOfGrant(grantKey: string): Promise<Session | undefined>;
  /** The session if it goes on. */
  findAlive(id: string): Promise<Session | undefined>;
  /** Sessions that go on, newest first; of one person, or all. */
  listAlive(person?: string): Promise<Session[]>;
  /** Whether the session goes on, as that transaction sees it. */
  isAlive(tx: Tx, id: string, now: Date): Promise<boolean>;
  /** Binds the client's key at its first token; false when another key was bound. */
  bindKey(id: string, thumbprint: string): Promise<boolean>;
  /** Ends one session; undefined when it had ended or never was. `by`: `person:…`, `log-out`, `revocation`, … */
  end(tx: Tx, id: string, by: string): Promise<Session | undefined>;
  endOfGrant(tx: Tx, grantKey: string, by: string): Promise<Session | undefined>;
  /** Ends all sessions of a person; answers how many. */
  endAllOf(tx: Tx, person: string, by: string): Promise<number>;
  /** The person's GitHub token, while the session goes on. */
  githubToken(id: string): Promise<string | undefined>;
  writeMemberships(id: string, text: string, at: Date): Promise<void>;
  /** Deletes at GitHub the tokens of sessions that are over; answers how many are left for later. */
  releaseTokens(): Promise<number>;
  /** The same for those alone for which it was not tried in vain: it can be called often while GitHub is down. */
  releaseNewTokens(): Promise<number>;
}

const MAX_HOURS = 8;
const RELEASE_BATCH = 100;

export function createSessions(options: SessionOptions): Sessions {
  const { database, write, sealer, now } = options;
  const lifetimeMs = Math.min(options.maxHours, MAX_HOURS) * 3_600_000;
  let releasing: Promise<number> = Promise.resolve(0);
  /** Sessions whose token could not be deleted yet. */
  const inVain = new Set<string>();
  const toSession = (row: SessionRow) => readAs(row, sealer);

  async function end(tx: Tx, id: string, by: string): Promise<Session | undefined> {
    const at = now();
    const row = await readSession(tx, id);
    if (row === undefined || !isOpen(row, at) || !(await markEnded(tx, id, at, by))) return undefined;
    await revokeArtifacts(tx, row.grant_key);
    const session = toSession({ ...row, ended_at: at.getTime(), ended_by: by });
    await options.onSessionEnded?.(tx, session, by);
    return session;
  }

  async function release(again: boolean): Promise<number> {
    let left = 0;
    if (again) inVain.clear();
    for (const row of await readUnreleased(database, now(), RELEASE_BATCH)) {
      if (row.github_token === null || inVain.has(row.id)) continue;
      try {
        await options.deleteToken(sealer.open(row.github_token, tokenPlace(row.id)).toString());
        await write((tx) => forgetGithubToken(tx, row.id));
      } catch (error) {
        left += 1;
        inVain.add(row.id);
        options.onDeletionFailed?.(toSession(row), error);
      }
    }
    return left;
  }

  function releaseNext(again: boolean): Promise<number> {
    const next = () => release(again);
    releasing = releasing.then(next, next);
    return releasing;
  }

  return {
    end,
    async begin(beginning) {
      const at = now();
      const id = createId(at.getTime());
      const row: SessionRow = {
        id,
        person: beginning.person,
        login_name: beginning.loginName,
        client: beginning.client,
        grant_key: beginning.grantKey,
        key_thumbprint: null,
        started_at: at.getTime(),
        ends_at: at.getTime() + lifetimeMs,
        ended_at: null,
        ended_by: null,
        github_token: sealer.seal(beginning.githubToken, tokenPlace(id)),
        memberships: null,
        memberships_at: null,
      };
      const session = toSession(row);
      return write(async (tx) => {
        if (await options.isDisabled(beginning.person, tx)) return undefined;
        await insertSession(tx, row);
        await options.onSessionBegan?.(tx, session);
        return session;
      });
    },
    async find(id) {
      const row = await readSession(database, id);
      return row === undefined ? undefined : toSession(row);
    },
    async findOfGrant(grantKey) {
      const row = await readSessionOfGrant(database, grantKey);
      return row === undefined ? undefined : toSession(row);
    },
    async findAlive(id) {
      const row = await readSession(database, id);
      return row !== undefined && isOpen(row, now()) ? toSession(row) : undefined;
    },
    async listAlive(person) {
      return (await readAliveSessions(database, now(), person)).map(toSession);
    },
    async isAlive(tx, id, at) {
      const row = await readSessionEnd(tx, id);
      return row !== undefined && isOpen(row, at);
    },
    bindKey: (id, thumbprint) => write((tx) => bindKey(tx, id, thumbprint)),
    async endOfGrant(tx, grantKey, by) {
      const row = await readSessionOfGrant(tx, grantKey);
      return row === undefined ? undefined : end(tx, row.id, by);
    },
    async endAllOf(tx, person, by) {
      let ended = 0;
      for (;;) {
        const alive = await readAliveSessions(tx, now(), person);
        if (alive.length === 0) return ended;
        for (const { id } of alive) {
          if ((await end(tx, id, by)) !== undefined) ended += 1;
        }
      }
    },
    async githubToken(id) {
      const row = await readSession(database, id);
      if (row === undefined || row.github_token === null || !isOpen(row, now())) return undefined;
      return sealer.open(row.github_token, tokenPlace(id)).toString();
    },
    writeMemberships: (id, text, at) =>
      write((tx) => writeMemberships(tx, id, sealer.seal(text, membershipsPlace(id, at.getTime())), at)),
    releaseTokens: () => releaseNext(true),
    releaseNewTokens: () => releaseNext(false),
  };
}

function isOpen(row: Pick<SessionRow, 'ended_at' | 'ends_at'>, at: Date): boolean {
  return row.ended_at === null && row.ends_at > at.getTime();
}

function tokenPlace(id: string): string {
  return `sessions/${id}/github_token`;
}

function membershipsPlace(id: string, at: number): string {
  return `sessions/${id}/memberships/${at}`;
}

/** Nothing where the text was not sealed here for this session and this time: the provider is then asked anew. */
function openMemberships(row: SessionRow, sealer: Sealer): Session['memberships'] {
  if (row.memberships === null || row.memberships_at === null) return undefined;
  try {
    const text = sealer.open(row.memberships, membershipsPlace(row.id, row.memberships_at)).toString();
    return { text, at: new Date(row.memberships_at) };
  } catch {
    return undefined;
  }
}

function readAs(row: SessionRow, sealer: Sealer): Session {
  return {
    id: row.id,
    person: row.person,
    loginName: row.login_name,
    client: row.client,
    keyThumbprint: row.key_thumbprint ?? undefined,
    startedAt: new Date(row.started_at),
    endsAt: new Date(row.ends_at),
    endedAt: row.ended_at === null ? undefined : new Date(row.ended_at),
    endedBy: row.ended_by ?? undefined,
    memberships: openMemberships(row, sealer),
  };
}
