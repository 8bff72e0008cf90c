/** The rows of logins and sessions, on both kinds of store. */
import { type Database, migrate, openDatabase } from '@beacon/server';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { engines } from '../../server/test/postgres.ts';
import {
  beginRenewal,
  deleteSession,
  endRenewal,
  findSession,
  insertLogin,
  insertSession,
  type PortalTables,
  type PortalTransaction,
  portalMigrations,
  prunePortal,
  seeSession,
  takeLogin,
} from '../src/portal-store.ts';

describe.each(engines)('the rows of the portal on $engine', ({ place }) => {
  let store: Database<PortalTables>;
  const portal = () => store as unknown as PortalTransaction;

  beforeEach(async () => {
    store = openDatabase(await place());
    await migrate(store, portalMigrations);
  });
  afterEach(() => store.destroy());

  const session = (id: string, at = 0) => ({
    id_hash: id,
    person: 'github:1',
    sealed: `sealed ${id}`,
    seen_at: at,
    ends_at: at + 1_000,
  });

  it('gives a login out once', async () => {
    await insertLogin(portal(), { id_hash: 'a', sealed: 's', ends_at: 10 });
    expect(await takeLogin(portal(), 'b')).toBeUndefined();
    expect(await takeLogin(portal(), 'a')).toEqual({ id_hash: 'a', sealed: 's', ends_at: 10 });
    expect(await takeLogin(portal(), 'a')).toBeUndefined();
  });

  it('lets one renew a session at a time, until the time that they took is over', async () => {
    await insertSession(portal(), session('a'));
    expect(await beginRenewal(portal(), 'a', 100, 200)).toBe(true);
    expect(await beginRenewal(portal(), 'a', 150, 250)).toBe(false);
    expect(await beginRenewal(portal(), 'a', 200, 300)).toBe(true);
    await endRenewal(portal(), 'a', 'renewed');
    expect(await findSession(portal(), 'a')).toMatchObject({ sealed: 'renewed', renewing_until: 0 });
    expect(await beginRenewal(portal(), 'a', 200, 300)).toBe(true);
    await endRenewal(portal(), 'a', undefined);
    expect(await findSession(portal(), 'a')).toMatchObject({ sealed: 'renewed', renewing_until: 0 });
    await deleteSession(portal(), 'a');
    expect(await beginRenewal(portal(), 'a', 1_000, 2_000)).toBe(false);
    // Nothing comes back by the end of a renewal.
    await endRenewal(portal(), 'a', 'late');
    expect(await findSession(portal(), 'a')).toBeUndefined();
  });

  it('forgets what is over, and what was not used', async () => {
    await insertLogin(portal(), { id_hash: 'a', sealed: 's', ends_at: 400 });
    await insertSession(portal(), session('over', -600));
    await insertSession(portal(), session('idle', 100));
    await insertSession(portal(), session('used', 100));
    await seeSession(portal(), 'used', 350);
    await prunePortal(portal(), 400, 300);
    const left = await Promise.all(['over', 'idle', 'used'].map((id) => findSession(portal(), id)));
    expect(left.map((row) => row?.id_hash)).toEqual([undefined, undefined, 'used']);
    expect(await takeLogin(portal(), 'a')).toBeUndefined();
  });
});
