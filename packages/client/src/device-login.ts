/**
 * The device grant (RFC 8628), as `beacon login` uses it: the person opens a page on any machine, signs in there, and
 * types the code that this program shows. Polling keeps to the server's interval, and slows down when told to (3.5).
 */
import { setTimeout as wait } from 'node:timers/promises';
import { Answer } from './answer.ts';
import type { CaMetadata } from './discovery.ts';
import { ClientError } from './error.ts';
import { defaultOutside, exchange, type Outside } from './exchange.ts';
import type { ProofKey } from './proof.ts';
import {
  formBody,
  isRefusal,
  readTokenRefusal,
  refusalError,
  requestTokens,
  type Tokens,
} from './token-endpoint.ts';

export interface DeviceLogin {
  /** What the person types, as the CA writes it. */
  readonly userCode: string;
  /** Where they type it. */
  readonly verificationUri: string;
  /** The same page with the code filled in already. */
  readonly verificationUriComplete?: string;
  readonly expiresAt: Date;
  readonly intervalMs: number;
  /** Secret: who has it and the proof key gets the tokens. */
  readonly deviceCode: string;
}

export interface DeviceClient {
  readonly metadata: CaMetadata;
  readonly clientId: string;
  readonly proofKey: ProofKey;
  /** The audiences that the session may later ask tokens for. */
  readonly resources: readonly string[];
  /** What the person is shown of the program that asks, visible ASCII: its name and machine. */
  readonly userAgent?: string;
  readonly outside?: Outside;
  readonly signal?: AbortSignal;
}

const SCOPE = 'beacon';
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
const USER_CODE = /^[A-Za-z0-9-]{4,32}$/;

/** Begins a login. Throws ClientError. */
export async function startDeviceLogin(client: DeviceClient): Promise<DeviceLogin> {
  const outside = client.outside ?? defaultOutside();
  const endpoint = client.metadata.deviceAuthorizationEndpoint;
  const answer = await exchange(outside, {
    method: 'POST',
    url: endpoint,
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      ...(client.userAgent === undefined ? {} : { 'user-agent': client.userAgent }),
    },
    body: formBody({ client_id: client.clientId, scope: SCOPE, resource: client.resources }),
    ...(client.signal === undefined ? {} : { signal: client.signal }),
  });
  if (answer.status !== 200) throw refusalError(readTokenRefusal(answer));
  const fields = Answer.read(answer.body, 'the device authorization');
  const userCode = fields.text('user_code', 32);
  if (!USER_CODE.test(userCode)) {
    throw new ClientError('answer-malformed', 'internal', "the CA's code has a form that nobody can type");
  }
  const complete = fields.has('verification_uri_complete')
    ? { verificationUriComplete: page(fields, 'verification_uri_complete', client.metadata) }
    : {};
  return {
    userCode,
    verificationUri: page(fields, 'verification_uri', client.metadata),
    ...complete,
    expiresAt: new Date(outside.now().getTime() + fields.integer('expires_in', 1, 3600) * 1000),
    intervalMs: (fields.has('interval') ? fields.integer('interval', 0, 60) : 5) * 1000,
    deviceCode: fields.text('device_code', 4096),
  };
}

/**
 * Waits until the person has decided. Throws ClientError `login-declined`, `login-expired`, `aborted` and what the way to
 * the server brings; a connection that fails in between is tried again until the code expires.
 */
export async function finishDeviceLogin(client: DeviceClient, login: DeviceLogin): Promise<Tokens> {
  const outside = client.outside ?? defaultOutside();
  let intervalMs = login.intervalMs;
  while (outside.now() < login.expiresAt) {
    await pause(intervalMs, client.signal);
    const answer = await poll(outside, client, login);
    if (answer === undefined) {
      // RFC 8628 section 3.5: back off when a request was lost.
      intervalMs = Math.min(intervalMs * 2 + 1000, 30_000);
      continue;
    }
    if (!isRefusal(answer)) return answer;
    switch (answer.error) {
      case 'authorization_pending':
        break;
      case 'slow_down':
        intervalMs += 5000;
        break;
      case 'access_denied':
        throw new ClientError('login-declined', 'denied', 'the login was declined in the browser');
      case 'expired_token':
        throw expired();
      default:
        throw refusalError(answer);
    }
  }
  throw expired();
}

async function poll(outside: Outside, client: DeviceClient, login: DeviceLogin) {
  try {
    return await requestTokens(outside, {
      endpoint: client.metadata.tokenEndpoint,
      parameters: {
        grant_type: DEVICE_GRANT,
        client_id: client.clientId,
        device_code: login.deviceCode,
        resource: client.resources.slice(0, 1),
      },
      proofKey: client.proofKey,
      ...(client.signal === undefined ? {} : { signal: client.signal }),
    });
  } catch (error) {
    if (error instanceof ClientError && (error.code === 'unreachable' || error.code === 'timed-out'))
      return undefined;
    throw error;
  }
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await wait(ms, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    throw new ClientError('aborted', 'unavailable', 'the login was stopped', { cause: error });
  }
}

/** The page that the person opens lies at the CA: a link elsewhere would be somebody's lure. */
function page(fields: Answer, name: string, metadata: CaMetadata): string {
  const url = URL.parse(fields.text(name, 2000));
  if (url === null || url.origin !== new URL(metadata.issuer).origin) {
    throw new ClientError(
      'answer-untrusted',
      'internal',
      `the CA's ${name} lies on another server: it is not shown`,
    );
  }
  return url.href;
}

function expired(): ClientError {
  return new ClientError(
    'login-expired',
    'unauthenticated',
    'the code expired before it was used: log in again',
  );
}
