import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  type DeviceClient,
  discoverCa,
  finishDeviceLogin,
  generateProofKey,
  startDeviceLogin,
} from '../src/index.ts';
import { type SmallCa, startSmallCa } from './small-ca.ts';

describe('the device login', () => {
  let ca: SmallCa;
  let client: DeviceClient;

  beforeEach(async () => {
    ca = await startSmallCa();
    const metadata = await discoverCa(ca.url);
    client = {
      metadata,
      clientId: 'beacon-cli',
      proofKey: generateProofKey(),
      resources: metadata.protectedResources,
    };
  });
  afterEach(() => ca.close());

  it('waits until the person has decided, and honours the nonce', async () => {
    ca.knobs.pendingPolls = 2;
    const started = await startDeviceLogin(client);
    expect(started).toMatchObject({ userCode: 'ABCD-EFGH', verificationUri: `${ca.url}/device` });
    const tokens = await finishDeviceLogin(client, started);
    expect(tokens.refreshToken).toEqual(expect.any(String));
    expect(ca.requests.filter((request) => request === 'POST /oauth/token')).toHaveLength(6);
  });

  it.each([
    ['access_denied', 'login-declined', 'denied'],
    ['expired_token', 'login-expired', 'unauthenticated'],
    ['invalid_request', 'oauth-refused', 'invalid'],
    ['server_error', 'oauth-refused', 'unavailable'],
  ])('ends on %s', async (error, code, kind) => {
    ca.knobs.pollRefusal = error;
    await expect(finishDeviceLogin(client, await startDeviceLogin(client))).rejects.toMatchObject({
      code,
      kind,
    });
  });

  it('stops when it is told to', async () => {
    ca.knobs.intervalSeconds = 30;
    const stop = new AbortController();
    const waiting = finishDeviceLogin({ ...client, signal: stop.signal }, await startDeviceLogin(client));
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'aborted' });
  });

  it('gives up when the code has expired', async () => {
    const started = await startDeviceLogin(client);
    await expect(finishDeviceLogin(client, { ...started, expiresAt: new Date(0) })).rejects.toMatchObject({
      code: 'login-expired',
    });
  });

  it.each([
    ['a page elsewhere', { verification_uri: 'https://evil.example/device' }],
    ['a page that is none', { verification_uri: 'javascript:alert(1)' }],
    ['a code with an escape sequence', { user_code: '\u001b[2J' }],
    ['a code that is no text', { user_code: 7 }],
  ])('I12: refuses %s', async (_name, change) => {
    ca.knobs.tamper = (path, body) => (path === '/oauth/device' ? { ...body, ...change } : body);
    await expect(startDeviceLogin(client)).rejects.toMatchObject({
      code: expect.stringMatching(/^answer-(untrusted|malformed)$/),
    });
  });

  it.each([
    ['a bearer token', { token_type: 'Bearer' }],
    ['a token with a line break', { access_token: 'a\r\nX: y' }],
    ['a token that never expires', { expires_in: 10 ** 12 }],
  ])('I12: refuses %s', async (_name, change) => {
    ca.knobs.tamper = (path, body) => (path === '/oauth/token' ? { ...body, ...change } : body);
    await expect(finishDeviceLogin(client, await startDeviceLogin(client))).rejects.toMatchObject({
      code: expect.stringMatching(/^answer-(untrusted|malformed)$/),
    });
  });
});
