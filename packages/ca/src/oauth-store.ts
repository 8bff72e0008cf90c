/**
 * What oidc-provider keeps (its adapter interface), in our store: each artifact under its model and the SHA-256 of its
 * id, the content sealed, so that a stolen database holds no token, code or cookie that could be used. What happens once
 * (a code's redemption, a refresh token's rotation, an assertion's or a proof's use) is decided by the database, not by a
 * read before a write. A grant that oidc-provider revokes ends the Beacon session behind it, in the same commit.
 */
import { createHash } from 'node:crypto';
import {
  type Database,
  type GroupCommit,
  KEPT_FOR_SLOW_CLOCKS_MS,
  type Migrations,
  prepareQuery,
  type Sealer,
  type Transaction,
} from '@beacon/server';
import { type Adapter, type AdapterFactory, type AdapterPayload, errors } from 'oidc-provider';

export interface OauthTables {
  oauth_artifacts: {
    model: string;
    key: string;
    content: string;
    grant_key: string | null;
    uid_key: string | null;
    user_code_key: string | null;
    consumed_at: number | null;
    polled_at: number | null;
    poll_interval_ms: number | null;
    expires_at: number;
  };
}

export const oauthMigrations: Migrations = {
  name: 'oauth',
  steps: [
    async (tx: Transaction<unknown>) => {
      await tx.schema
        .createTable('oauth_artifacts')
        .addColumn('model', 'text', (c) => c.notNull())
        .addColumn('key', 'text', (c) => c.notNull())
        .addColumn('content', 'text', (c) => c.notNull())
        .addColumn('grant_key', 'text')
        .addColumn('uid_key', 'text')
        .addColumn('user_code_key', 'text')
        .addColumn('consumed_at', 'bigint')
        .addColumn('polled_at', 'bigint')
        .addColumn('poll_interval_ms', 'bigint')
        .addColumn('expires_at', 'bigint', (c) => c.notNull())
        .addPrimaryKeyConstraint('oauth_artifacts_key', ['model', 'key'])
        .execute();
      for (const column of ['grant_key', 'uid_key', 'user_code_key', 'expires_at']) {
        await tx.schema
          .createIndex(`oauth_artifacts_${column}`)
          .on('oauth_artifacts')
          .column(column)
          .execute();
      }
    },
  ],
};

/** RFC 8628 section 3.5: the interval when the answer names none, and what `slow_down` adds to it. */
export const POLL_INTERVAL_MS = 5_000;
/** A client that waits exactly the interval must not be called too fast by a jitter of the network. */
const POLL_TOLERANCE_MS = 1_000;
const DEFAULT_LIFETIME_SECONDS = 600;

export interface OauthStoreOptions {
  readonly database: Database<OauthTables>;
  readonly write: GroupCommit<OauthTables>['write'];
  readonly sealer: Sealer;
  readonly now: () => Date;
  /** Ends the session behind a grant and takes its artifacts away, in one commit. */
  readonly onGrantRevoked: (grantKey: string) => Promise<void>;
}

export interface OauthStore {
  readonly adapter: AdapterFactory;
  /** The content of an artifact by its id, whatever oidc-provider thinks of its age. */
  find(model: string, id: string): Promise<AdapterPayload | undefined>;
  /** Notes a poll with this device code; true when it came sooner than the client was told to wait. */
  polledTooSoon(deviceCode: string): Promise<boolean>;
}

/** How a grant is called in our tables: a hash, as for every other id of oidc-provider. */
export function keyOf(id: string): string {
  return createHash('sha256').update(id).digest('base64url');
}

function findArtifactBy(column: 'key' | 'uid_key' | 'user_code_key') {
  return prepareQuery((reader: Database<OauthTables>, values: { model: string; key: string }) =>
    reader
      .selectFrom('oauth_artifacts')
      .select(['model', 'key', 'content', 'consumed_at'])
      .where('model', '=', values.model)
      .where(column, '=', values.key),
  );
}

const findArtifact = {
  key: findArtifactBy('key'),
  uid_key: findArtifactBy('uid_key'),
  user_code_key: findArtifactBy('user_code_key'),
};

export function createOauthStore(options: OauthStoreOptions): OauthStore {
  const { database, write, sealer, now } = options;

  function place(model: string, key: string): string {
    return `oauth/${model}/${key}`;
  }

  function open(row: {
    model: string;
    key: string;
    content: string;
    consumed_at: number | null;
  }): AdapterPayload {
    const payload = JSON.parse(
      sealer.open(row.content, place(row.model, row.key)).toString(),
    ) as AdapterPayload;
    return row.consumed_at === null ? payload : { ...payload, consumed: Math.floor(row.consumed_at / 1000) };
  }

  async function findBy(
    reader: Database<OauthTables> | Transaction<OauthTables>,
    model: string,
    column: 'key' | 'uid_key' | 'user_code_key',
    id: string,
  ): Promise<AdapterPayload | undefined> {
    const [row] = (await findArtifact[column](reader, { model, key: keyOf(id) })).rows;
    return row === undefined ? undefined : open(row);
  }

  /** Whether the artifact was kept; false when it may exist once only and is there already. */
  async function keep(
    tx: Transaction<OauthTables>,
    model: string,
    id: string,
    payload: AdapterPayload,
    seconds: number,
  ) {
    const key = keyOf(id);
    const nowMs = now().getTime();
    if (model === 'DeviceCode' && (payload.accountId !== undefined || payload.error !== undefined)) {
      const before = await findBy(tx, model, 'key', id);
      if (before?.accountId !== undefined || before?.error !== undefined) return false;
    }
    if (model === 'ReplayDetection') {
      await tx
        .deleteFrom('oauth_artifacts')
        .where('model', '=', model)
        .where('key', '=', key)
        .where('expires_at', '<=', nowMs - KEPT_FOR_SLOW_CLOCKS_MS)
        .execute();
    }
    const content = {
      content: sealer.seal(JSON.stringify(payload), place(model, key)),
      grant_key: payload.grantId === undefined ? null : keyOf(payload.grantId),
      uid_key: payload.uid === undefined ? null : keyOf(payload.uid),
      user_code_key: payload.userCode === undefined ? null : keyOf(payload.userCode),
      expires_at: nowMs + seconds * 1000,
    };
    const { numInsertedOrUpdatedRows } = await tx
      .insertInto('oauth_artifacts')
      .values({ model, key, ...content, consumed_at: null, polled_at: null, poll_interval_ms: null })
      .onConflict((conflict) =>
        model === 'ReplayDetection'
          ? conflict.doNothing()
          : conflict.columns(['model', 'key']).doUpdateSet(content),
      )
      .executeTakeFirst();
    return numInsertedOrUpdatedRows === 1n;
  }

  function adapter(model: string): Adapter {
    return {
      async upsert(id, payload, seconds) {
        const lifetime = seconds ?? DEFAULT_LIFETIME_SECONDS;
        if (await write((tx) => keep(tx, model, id, payload, lifetime))) return;
        throw model === 'ReplayDetection'
          ? new errors.InvalidRequest('this proof or assertion has been used')
          : new errors.InvalidRequest('this code has been answered already');
      },
      find: (id) => findBy(database, model, 'key', id),
      findByUid: (uid) => findBy(database, model, 'uid_key', uid),
      findByUserCode: (userCode) => findBy(database, model, 'user_code_key', userCode),
      async consume(id) {
        const first = await write(async (tx) => {
          const { numUpdatedRows } = await tx
            .updateTable('oauth_artifacts')
            .set({ consumed_at: now().getTime() })
            .where('model', '=', model)
            .where('key', '=', keyOf(id))
            .where('consumed_at', 'is', null)
            .executeTakeFirst();
          return numUpdatedRows === 1n;
        });
        if (!first) throw new errors.InvalidGrant('this has been used already');
      },
      async destroy(id) {
        await write((tx) =>
          tx.deleteFrom('oauth_artifacts').where('model', '=', model).where('key', '=', keyOf(id)).execute(),
        );
      },
      async revokeByGrantId(grantId) {
        await options.onGrantRevoked(keyOf(grantId));
      },
    };
  }

  return {
    adapter,
    find: (model, id) => findBy(database, model, 'key', id),
    polledTooSoon: (deviceCode) =>
      write(async (tx) => {
        const nowMs = now().getTime();
        const artifact = tx
          .selectFrom('oauth_artifacts')
          .select(['polled_at', 'poll_interval_ms'])
          .where('model', '=', 'DeviceCode')
          .where('key', '=', keyOf(deviceCode));
        const row = await artifact.executeTakeFirst();
        if (row === undefined) return false;
        const interval = row.poll_interval_ms ?? POLL_INTERVAL_MS;
        const tooSoon = row.polled_at !== null && nowMs - row.polled_at < interval - POLL_TOLERANCE_MS;
        await tx
          .updateTable('oauth_artifacts')
          .set({ polled_at: nowMs, poll_interval_ms: tooSoon ? interval + POLL_INTERVAL_MS : interval })
          .where('model', '=', 'DeviceCode')
          .where('key', '=', keyOf(deviceCode))
          .execute();
        return tooSoon;
      }),
  };
}

/**
 * Takes away the grant and what could yet be redeemed under it. Access tokens stay their few minutes: each use looks at
 * the session, and a caller is better told that it has ended than that the token is unknown.
 */
export async function revokeArtifacts(tx: Transaction<OauthTables>, grantKey: string): Promise<void> {
  await tx
    .deleteFrom('oauth_artifacts')
    .where('grant_key', '=', grantKey)
    .where('model', '!=', 'AccessToken')
    .execute();
  await tx.deleteFrom('oauth_artifacts').where('model', '=', 'Grant').where('key', '=', grantKey).execute();
}

/** Forgets what has expired; what must not be used twice is remembered longer, for slow clocks. */
export async function pruneArtifacts(tx: Transaction<OauthTables>, now: Date): Promise<void> {
  const nowMs = now.getTime();
  await tx
    .deleteFrom('oauth_artifacts')
    .where('expires_at', '<=', nowMs)
    .where((e) =>
      e.or([e('model', '!=', 'ReplayDetection'), e('expires_at', '<=', nowMs - KEPT_FOR_SLOW_CLOCKS_MS)]),
    )
    .execute();
}
