/**
 * Which keys may be certified for whom: a key belongs for good to the first who had it certified, a revoked one to nobody,
 * the CA's own keys to no person and no host.
 */
import { fingerprint } from '@beacon/ssh/public-key';
import type { Ca, Tx } from './ca.ts';
import { CaError } from './error.ts';
import { claimSubjectKey } from './store.ts';

/** Makes the key the owner's (a person, or `host/<id>`). Throws CaError `key-in-use` or `key-revoked`. */
export async function requireKeyOf(
  tx: Tx,
  ca: Pick<Ca, 'userCa' | 'hostCa'>,
  key: string,
  owner: string,
): Promise<void> {
  const own = [...ca.userCa.opened, ...ca.hostCa.opened].some(
    ({ publicKey }) => fingerprint(publicKey) === key,
  );
  const claim = own ? 'taken' : await claimSubjectKey(tx, key, owner);
  if (claim === 'taken')
    throw new CaError('key-in-use', 'this key is in use by somebody else: make a new one');
  if (claim === 'revoked') throw new CaError('key-revoked', 'this key was revoked: make a new one');
}
