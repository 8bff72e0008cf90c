/**
 * What is remembered of a browser between GitHub's answer and the person's decision here: a few minutes, once. The
 * cookie's random id stands in the store as its SHA-256 and the content (the GitHub token among it) sealed. Wrong device
 * codes are counted here too, for all replicas.
 */
import {
  addressKey,
  type Database,
  type GroupCommit,
  type Migrations,
  type Sealer,
  type Transaction,
} from '@beacon/server';
import { type SessionData, Store } from 'express-session';
import { keyOf } from './oauth-store.ts';

export interface SignInTables {
  sign_ins: { key: string; content: string; expires_at: number };
  code_guesses: { address_key: string; window_ends_at: number; wrong: number };
}

export const signInMigrations: Migrations = {
  name: 'sign-ins',
  steps: [
    async (tx: Transaction<unknown>) => {
      await tx.schema
        .createTable('sign_ins')
        .addColumn('key', 'text', (c) => c.primaryKey().notNull())
        .addColumn('content', 'text', (c) => c.notNull())
        .addColumn('expires_at', 'bigint', (c) => c.notNull())
        .execute();
      await tx.schema.createIndex('sign_ins_expiry').on('sign_ins').column('expires_at').execute();
      await tx.schema
        .createTable('code_guesses')
        .addColumn('address_key', 'text', (c) => c.primaryKey().notNull())
        .addColumn('window_ends_at', 'bigint', (c) => c.notNull())
        .addColumn('wrong', 'integer', (c) => c.notNull())
        .execute();
    },
  ],
};

/** How long a sign-in at GitHub may wait for the person's decision here. */
export const SIGN_IN_LIFETIME_MS = 600_000;
const GUESS_WINDOW_MS = 600_000;
/** Stands where the content was, until the row's time is over: a slower request must not bring it back. */
const USED = '';

export interface SignInStoreOptions {
  readonly database: Database<SignInTables>;
  readonly write: GroupCommit<SignInTables>['write'];
  readonly sealer: Sealer;
  readonly now: () => Date;
}

/** What wrong codes are counted of, and how many it may have. All of an IPv6 network of 64 bits is one address. */
export type GuessCount = ({ readonly address: string } | { readonly signIn: string }) & {
  readonly most: number;
};

/** express-session's store, and what it has no word for. */
export class SignInStore extends Store {
  readonly #options: SignInStoreOptions;

  constructor(options: SignInStoreOptions) {
    super();
    this.#options = options;
  }

  override get(id: string, done: (error: unknown, session?: SessionData | null) => void): void {
    const read = async (): Promise<SessionData | null> => {
      const { sealer, now } = this.#options;
      const key = keyOf(id);
      const row = await this.#options.database
        .selectFrom('sign_ins')
        .selectAll()
        .where('key', '=', key)
        .executeTakeFirst();
      if (row === undefined || row.content === USED || row.expires_at <= now().getTime()) return null;
      return JSON.parse(sealer.open(row.content, place(key)).toString()) as SessionData;
    };
    read().then(
      (session) => done(null, session),
      (error: unknown) => done(error),
    );
  }

  override set(id: string, session: SessionData, done?: (error?: unknown) => void): void {
    const { sealer, now } = this.#options;
    const key = keyOf(id);
    const row = {
      content: sealer.seal(JSON.stringify(session), place(key)),
      expires_at: now().getTime() + SIGN_IN_LIFETIME_MS,
    };
    this.#options
      .write((tx) =>
        tx
          .insertInto('sign_ins')
          .values({ key, ...row })
          .onConflict((conflict) =>
            conflict
              .column('key')
              .doUpdateSet({ content: row.content })
              .where('sign_ins.content', '!=', USED),
          )
          .execute(),
      )
      .then(
        () => done?.(),
        (error: unknown) => done?.(error),
      );
  }

  override destroy(id: string, done?: (error?: unknown) => void): void {
    this.consume(id).then(
      () => done?.(),
      (error: unknown) => done?.(error),
    );
  }

  /** Ends it; true for the one caller that did. */
  consume(id: string): Promise<boolean> {
    return this.#options.write(async (tx) => {
      const { numUpdatedRows } = await tx
        .updateTable('sign_ins')
        .set({ content: USED })
        .where('key', '=', keyOf(id))
        .where('content', '!=', USED)
        .executeTakeFirst();
      return numUpdatedRows === 1n;
    });
  }

  /**
   * Counts a code as wrong in each of the counts, unless one of them is full: then in none, and the answer is false. What
   * is counted is forgotten when its window is over.
   */
  countGuess(counts: readonly GuessCount[]): Promise<boolean> {
    return this.#options.write(async (tx) => {
      const nowMs = this.#options.now().getTime();
      const keys = counts.map(guessKey);
      await tx
        .deleteFrom('code_guesses')
        .where('address_key', 'in', keys)
        .where('window_ends_at', '<=', nowMs)
        .execute();
      // Nobody else writes meanwhile: a transaction has the store's lock for writing from its beginning.
      const rows = await tx.selectFrom('code_guesses').selectAll().where('address_key', 'in', keys).execute();
      const wrong = new Map(rows.map((row) => [row.address_key, row.wrong]));
      if (counts.some(({ most }, at) => (wrong.get(keys[at] ?? '') ?? 0) >= most)) return false;
      await tx
        .insertInto('code_guesses')
        .values(keys.map((key) => ({ address_key: key, window_ends_at: nowMs + GUESS_WINDOW_MS, wrong: 1 })))
        .onConflict((conflict) =>
          conflict.column('address_key').doUpdateSet((e) => ({ wrong: e('code_guesses.wrong', '+', 1) })),
        )
        .execute();
      return true;
    });
  }

  /** Takes one back that was counted and was not wrong. */
  async takeBackGuess(counts: readonly GuessCount[]): Promise<void> {
    const keys = counts.map(guessKey);
    await this.#options.write((tx) =>
      tx
        .updateTable('code_guesses')
        .set((e) => ({ wrong: e('wrong', '-', 1) }))
        .where('address_key', 'in', keys)
        .where('wrong', '>', 0)
        .execute(),
    );
  }
}

/** Takes out what nobody came back for; answers the contents, whose GitHub tokens are still to be deleted. */
export async function pruneSignIns(
  tx: Transaction<SignInTables>,
  now: Date,
  sealer: Sealer,
): Promise<SessionData[]> {
  const expired = await tx
    .deleteFrom('sign_ins')
    .where('expires_at', '<=', now.getTime())
    .returning(['key', 'content'])
    .execute();
  await tx.deleteFrom('code_guesses').where('window_ends_at', '<=', now.getTime()).execute();
  return expired
    .filter(({ content }) => content !== USED)
    .flatMap(({ key, content }) => {
      try {
        return [JSON.parse(sealer.open(content, place(key)).toString()) as SessionData];
      } catch {
        // Sealed with a key that has been replaced since: nobody can read it, and it is gone now.
        return [];
      }
    });
}

function guessKey(count: GuessCount): string {
  return keyOf('address' in count ? addressKey(count.address) : `sign-in/${count.signIn}`);
}

function place(key: string): string {
  return `sign_ins/${key}`;
}
