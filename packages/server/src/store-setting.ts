/** The store that a configuration names: how it is opened, and how messages call it. */
import { type DatabaseOptions, storageFailure } from './database.ts';
import { ServerError } from './error.ts';
import { readSecretFile } from './secret-file.ts';
import type { StoreSetting } from './server-configuration.ts';

/** Where the store is: a file, or the URL that a secret file holds. Throws ServerError `configuration`. */
export function readStore(store: StoreSetting): DatabaseOptions {
  if (typeof store === 'string') return { file: store };
  if ('sqlite' in store) return { file: store.sqlite };
  const file = store.postgres_url_file;
  try {
    return { url: readSecretFile(file, { maxBytes: 4_096 }).toString('utf8') };
  } catch (error) {
    throw new ServerError(
      'configuration',
      `the PostgreSQL URL cannot be read from ${file}: paste it with \`install -m 600 /dev/stdin ${file}\``,
      { cause: error },
    );
  }
}

/** How a store is called before people: by its file, or by the file that says where it is. */
export function nameOfStore(store: StoreSetting): string {
  if (typeof store === 'string') return store;
  return 'sqlite' in store ? store.sqlite : `the database of ${store.postgres_url_file}`;
}

/** What is wrong with a store, under the name by which the person finds it. */
export function inStore(store: StoreSetting, error: unknown): unknown {
  const known = error instanceof ServerError ? error : storageFailure(error);
  // A failure to open names the file itself.
  if (known === undefined || (known === error && known.code !== 'store-newer')) return error;
  return new ServerError(known.code, `${nameOfStore(store)}: ${known.message}`, { cause: error });
}
