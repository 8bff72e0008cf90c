import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  createCaApi,
  discoverCa,
  exportProofKey,
  finishDeviceLogin,
  generateProofKey,
  openSession,
  type SessionStorage,
  type StoredSession,
  startDeviceLogin,
  storedSession,
} from '../src/index.ts';
import { type SmallCa, startSmallCa } from './small-ca.ts';

describe('a session', () => {
  let ca: SmallCa;
  let stored: StoredSession;
  let storage: SessionStorage;

  beforeEach(async () => {
    ca = await startSmallCa();
    const metadata = await discoverCa(ca.url);
    const proofKey = generateProofKey();
    const client = { metadata, clientId: 'beacon-cli', proofKey, resources: metadata.protectedResources };
    const tokens = await finishDeviceLogin(client, await startDeviceLogin(client));
    const { issuer, tokenEndpoint } = metadata;
    stored = storedSession(
      { issuer, clientId: 'beacon-cli', tokenEndpoint, key: exportProofKey(proofKey) },
      tokens,
    );
    let last: Promise<unknown> = Promise.resolve();
    storage = {
      read: async () => stored,
      update: (change) => {
        const next = last.then(async () => {
          stored = await change(stored);
          return stored;
        });
        last = next.catch(() => undefined);
        return next;
      },
    };
  });
  afterEach(() => ca.close());

  it('hands out a token as long as it is good', async () => {
    const credentials = await openSession(storage);
    expect(await credentials.accessToken()).toBe(stored.accessToken);
    expect(ca.refreshes.count).toBe(0);
  });

  it('renews the token once for many who ask at the same time', async () => {
    stored = { ...stored, accessTokenExpiresAt: new Date(0) };
    const credentials = await openSession(storage);
    const tokens = await Promise.all(Array.from({ length: 10 }, () => credentials.accessToken()));
    expect(new Set(tokens).size).toBe(1);
    expect(ca.refreshes).toEqual({ count: 1, reused: 0 });
  });

  it('replaces a token that the CA no longer takes, and asks again', async () => {
    const credentials = await openSession(storage);
    stored = { ...stored, accessToken: 'gone' };
    expect((await createCaApi(credentials).whoami()).session.name).toBe('octocat');
    expect(stored.accessToken).not.toBe('gone');
  });

  it('says that the session has ended when the CA renews it no longer', async () => {
    const credentials = await openSession(storage);
    ca.endSessions();
    await expect(createCaApi(credentials).whoami()).rejects.toMatchObject({
      code: 'session-ended',
      kind: 'unauthenticated',
    });
  });

  it('does not use what another login has put in its place', async () => {
    const credentials = await openSession(storage);
    stored = { ...stored, key: exportProofKey(generateProofKey()) };
    await expect(credentials.accessToken()).rejects.toMatchObject({ code: 'session-missing' });
  });

  it('keeps the old tokens when the renewal fails', async () => {
    const before = { ...stored, accessTokenExpiresAt: new Date(0) };
    stored = before;
    ca.knobs.intercept = (_request, response) => {
      response.writeHead(503).end();
      return true;
    };
    const credentials = await openSession(storage);
    await expect(credentials.accessToken()).rejects.toMatchObject({ kind: 'unavailable' });
    expect(stored).toBe(before);
  });
});
