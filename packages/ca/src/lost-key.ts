/**
 * `beacon ca rotate lost`: the key that signs is gone, with its token or its passphrase, so it can neither sign nor be
 * exchanged in order. Said on the CA's machine, while no CA serves from the store; recorded. Hosts trust the lost key until
 * a root leaves it out.
 */
import { existsSync } from 'node:fs';
import { createRecords, migrate, openDatabase, readStore } from '@beacon/server';
import type { Tables } from './ca.ts';
import { type CaKeyKind, leaveSigning, readSigning } from './ca-key-store.ts';
import { readCaConfiguration } from './configuration.ts';
import { migrations } from './create-ca.ts';
import { CaError } from './error.ts';

export interface LostKey {
  readonly configurationFile: string;
  readonly kind: CaKeyKind;
  readonly reason: string;
}

/** Throws CaError `ca-key-unknown` when none signs, `store`, or ServerError. */
export async function loseCaKey(
  { configurationFile, kind, reason }: LostKey,
  now: () => Date,
): Promise<{ key: string; record: { seq: number; hash: string } }> {
  const place = readStore(readCaConfiguration(configurationFile).store);
  if ('file' in place && !existsSync(place.file))
    throw new CaError('store', `there is no ${place.file} yet: the first start takes the key of ca.yaml`);
  const store = openDatabase<Tables>(place);
  try {
    await migrate(store, ...migrations);
    const records = createRecords({ chain: 'ca', now });
    return await store.transaction().execute(async (tx) => {
      const row = await readSigning(tx, kind);
      if (row === undefined)
        throw new CaError(
          'ca-key-unknown',
          `no ${kind} CA key signs: the next start takes the one of ca.yaml`,
        );
      const { seq, hash } = await records.append(tx, {
        kind: 'ca-key-lost',
        facts: { authority: kind, key: row.fingerprint, reason },
      });
      await leaveSigning(tx, kind, 'former');
      return { key: row.fingerprint, record: { seq, hash } };
    });
  } finally {
    await store.destroy();
  }
}
