/**
 * One HTTP request and its answer, bounded in time and size; or an answer that is read as it comes, whose head is bounded
 * in time and whose length is for its reader to bound. Redirects are not followed: the servers we speak to send
 * none, and a token must not travel to where somebody else points.
 */
import { Buffer } from 'node:buffer';
import { ClientError } from './error.ts';

/** What a client takes from outside, so that tests can give their own. */
export interface Outside {
  readonly fetch: typeof globalThis.fetch;
  readonly now: () => Date;
  /** For one request, from its start to the last byte of the answer. */
  readonly timeoutMs: number;
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  /** The longest answer that is read; 1 MiB when absent. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
}

const MAX_ANSWER_BYTES = 1024 * 1024;

/** The real outside: 30 seconds for a request. */
export function defaultOutside(): Outside {
  return { fetch: globalThis.fetch, now: () => new Date(), timeoutMs: 30_000 };
}

/** Sends one request. Throws ClientError `unreachable`, `timed-out`, `aborted` or `answer-too-long`. */
export async function exchange(outside: Outside, request: HttpRequest): Promise<HttpAnswer> {
  const timeout = AbortSignal.timeout(outside.timeoutMs);
  try {
    const response = await send(outside, request, timeout);
    const body = await readBody(response, request.maxBytes ?? MAX_ANSWER_BYTES);
    return { status: response.status, headers: response.headers, body };
  } catch (error) {
    throw failure(outside, request, timeout, error);
  }
}

/** An answer whose body is still to come. A body that is not wanted has to be cancelled. */
export interface OpenAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: ReadableStream<Uint8Array> | null;
}

/**
 * Sends one request and answers when the head is there; an answer other than 200 is read to its end. Throws as
 * {@link exchange} does.
 */
export async function openExchange(outside: Outside, request: HttpRequest): Promise<OpenAnswer | HttpAnswer> {
  const slow = new AbortController();
  const timer = setTimeout(() => slow.abort(), outside.timeoutMs);
  try {
    const response = await send(outside, request, slow.signal);
    const { status, headers } = response;
    return status === 200 ? response : { status, headers, body: await readBody(response, MAX_ANSWER_BYTES) };
  } catch (error) {
    throw failure(outside, request, slow.signal, error);
  } finally {
    clearTimeout(timer);
  }
}

function send(outside: Outside, request: HttpRequest, timeout: AbortSignal): Promise<Response> {
  const signals = request.signal === undefined ? [timeout] : [timeout, request.signal];
  return outside.fetch(request.url, {
    method: request.method,
    headers: { accept: 'application/json', ...request.headers },
    redirect: 'manual',
    signal: AbortSignal.any(signals),
    ...(request.body === undefined ? {} : { body: request.body }),
  });
}

/** What a request that failed means. */
function failure(outside: Outside, request: HttpRequest, timeout: AbortSignal, error: unknown): ClientError {
  if (error instanceof ClientError) return error;
  const { host } = new URL(request.url);
  if (request.signal?.aborted === true) {
    return new ClientError('aborted', 'unavailable', 'stopped before the server answered', { cause: error });
  }
  if (timeout.aborted) {
    const seconds = Math.round(outside.timeoutMs / 1000);
    return new ClientError(
      'timed-out',
      'unavailable',
      `${host} did not answer within ${seconds} s: try again`,
      {
        cause: error,
      },
    );
  }
  const why = reason(error);
  if (why !== undefined && UNTRUSTED.test(why)) {
    return new ClientError(
      'unreachable',
      'unavailable',
      `${host} shows a TLS certificate that is not trusted here (${why}): check the address; where the certificate is of an authority of your own, name its file in NODE_EXTRA_CA_CERTS`,
      { cause: error },
    );
  }
  return new ClientError(
    'unreachable',
    'unavailable',
    `cannot reach ${host}${why === undefined ? '' : ` (${why})`}: check the address, and that the server runs`,
    { cause: error },
  );
}

/** Node's and OpenSSL's codes for a certificate that does not hold. */
const UNTRUSTED = /CERT|ALTNAME|UNABLE_TO_VERIFY/;

async function readBody(response: OpenAnswer, maxBytes: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let length = 0;
  if (response.body !== null) {
    for await (const part of response.body) {
      length += part.length;
      if (length > maxBytes) {
        await response.body.cancel().catch(() => undefined);
        throw new ClientError(
          'answer-too-long',
          'internal',
          `the answer is longer than ${maxBytes} bytes: check that the address is that of a Beacon server`,
        );
      }
      parts.push(part);
    }
  }
  return Buffer.concat(parts, length);
}

/** The system's word for a failed connection, such as ECONNREFUSED. */
function reason(error: unknown): string | undefined {
  let cause = error;
  for (let depth = 0; depth < 5 && typeof cause === 'object' && cause !== null; depth++) {
    if ('code' in cause && typeof cause.code === 'string' && /^[A-Z][A-Z0-9_]{2,60}$/.test(cause.code)) {
      return cause.code;
    }
    cause = 'cause' in cause ? cause.cause : undefined;
  }
  return undefined;
}
