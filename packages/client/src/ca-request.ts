/**
 * One authorized request to the API of a CA or a broker: token, proof over the exact body, a problem document turned into an error. A
 * nonce that the server asks for and a token that it no longer takes are answered once each, always with a new proof.
 */
import { Buffer } from 'node:buffer';
import { problemKind, readProblem } from '@beacon/protocol/problem';
import { ClientError } from './error.ts';
import {
  exchange,
  type HttpAnswer,
  type HttpRequest,
  type OpenAnswer,
  type Outside,
  openExchange,
} from './exchange.ts';
import { plainText } from './plain-text.ts';
import { createProof } from './proof.ts';
import type { Credentials } from './session.ts';

export interface CaRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Path and query behind the server's public URL. */
  readonly path: string;
  /** The public URL of a broker; the CA's when absent. */
  readonly base?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  readonly body?: Buffer<ArrayBuffer>;
  readonly keyProof?: string;
  readonly maxBytes?: number;
}

/** The answer, whose status is 200, 201 or 202. Throws ClientError. */
export async function requestAuthorized(
  outside: Outside,
  credentials: Credentials,
  request: CaRequest,
): Promise<HttpAnswer> {
  const answer = await sendProven(outside, credentials, request, (sent) => exchange(outside, sent));
  if (isGood(answer)) return answer;
  throw problemError(answer);
}

/** The answer, read as it comes, whose status is 200. Throws ClientError. */
export async function streamAuthorized(
  outside: Outside,
  credentials: Credentials,
  request: CaRequest,
): Promise<OpenAnswer> {
  const answer = await sendProven(outside, credentials, request, (sent) => openExchange(outside, sent));
  const { status, headers, body } = answer;
  if (!Buffer.isBuffer(body)) return { status, headers, body };
  throw problemError({ status, headers, body });
}

async function sendProven<Sent extends { readonly status: number; readonly headers: Headers }>(
  outside: Outside,
  credentials: Credentials,
  request: CaRequest,
  send: (request: HttpRequest) => Promise<Sent>,
): Promise<Sent> {
  const { method, body, path, base = credentials.issuer } = request;
  const url = `${base}${path}`;
  let token = await credentials.accessToken();
  let nonce: string | undefined;
  let renewed = false;
  for (;;) {
    const proof = await createProof(credentials.proofKey, {
      method,
      url,
      now: outside.now(),
      accessToken: token,
      ...(body === undefined ? {} : { body }),
      ...(request.keyProof === undefined ? {} : { keyProof: request.keyProof }),
      ...(nonce === undefined ? {} : { nonce }),
    });
    const answer = await send({
      method,
      url,
      headers: {
        ...request.headers,
        authorization: `DPoP ${token}`,
        dpop: proof,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body }),
      ...(request.maxBytes === undefined ? {} : { maxBytes: request.maxBytes }),
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    });
    if (isGood(answer)) return answer;
    const challenge = answer.status === 401 ? (answer.headers.get('www-authenticate') ?? '') : '';
    const offered = answer.headers.get('dpop-nonce');
    if (challenge.includes('use_dpop_nonce') && offered !== null && nonce === undefined) {
      nonce = offered;
    } else if (challenge.includes('invalid_token') && !renewed) {
      renewed = true;
      token = await credentials.accessToken(token);
    } else {
      return answer;
    }
  }
}

function isGood({ status }: { readonly status: number }): boolean {
  return status === 200 || status === 201 || status === 202;
}

/** The answer to a request that needs no login. Throws ClientError. */
export async function requestPublic(
  outside: Outside,
  url: string,
  options: { readonly maxBytes?: number } = {},
): Promise<HttpAnswer> {
  const answer = await exchange(outside, { method: 'GET', url, ...options });
  if (answer.status !== 200) throw problemError(answer);
  return answer;
}

/** What the server's refusal means. */
function problemError(answer: HttpAnswer): ClientError {
  const problem = readProblem(answer.body.toString('utf8'));
  if (problem === undefined) {
    return new ClientError(
      'answer-malformed',
      answer.status >= 500 ? 'unavailable' : 'internal',
      `the server answers ${answer.status} and does not say why: check that the address is that of a Beacon server`,
    );
  }
  const detail = plainText(problem.detail);
  return new ClientError('refused', problemKind(problem.type) ?? 'internal', detail, {
    problem: {
      code: plainText(problem.code, 100),
      detail,
      id: plainText(problem.id, 100),
      ...(problem.denial === undefined ? {} : { denial: problem.denial }),
    },
  });
}
