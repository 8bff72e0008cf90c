/**
 * One authorized request to the CA's API: token, proof over the exact body, a problem document turned into an error. A
 * nonce that the CA asks for and a token that it no longer takes are answered once each, always with a new proof.
 */
import type { Buffer } from 'node:buffer';
import { problemKind, readProblem } from '@beacon/protocol/problem';
import { ClientError } from './error.ts';
import { exchange, type HttpAnswer, type Outside } from './exchange.ts';
import { plainText } from './plain-text.ts';
import { createProof } from './proof.ts';
import type { Credentials } from './session.ts';

export interface CaRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Path and query behind the CA's public URL. */
  readonly path: string;
  readonly body?: Buffer<ArrayBuffer>;
  readonly keyProof?: string;
  readonly maxBytes?: number;
}

/** The answer, whose status is 200 or 201. Throws ClientError. */
export async function requestAuthorized(
  outside: Outside,
  credentials: Credentials,
  request: CaRequest,
): Promise<HttpAnswer> {
  const url = `${credentials.issuer}${request.path}`;
  let token = await credentials.accessToken();
  let nonce: string | undefined;
  let renewed = false;
  for (;;) {
    const answer = await exchange(outside, {
      method: request.method,
      url,
      headers: {
        authorization: `DPoP ${token}`,
        dpop: await createProof(credentials.proofKey, {
          method: request.method,
          url,
          now: outside.now(),
          accessToken: token,
          ...(request.body === undefined ? {} : { body: request.body }),
          ...(request.keyProof === undefined ? {} : { keyProof: request.keyProof }),
          ...(nonce === undefined ? {} : { nonce }),
        }),
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(request.body === undefined ? {} : { body: request.body }),
      ...(request.maxBytes === undefined ? {} : { maxBytes: request.maxBytes }),
    });
    if (answer.status === 200 || answer.status === 201) return answer;
    const challenge = answer.status === 401 ? (answer.headers.get('www-authenticate') ?? '') : '';
    const offered = answer.headers.get('dpop-nonce');
    if (challenge.includes('use_dpop_nonce') && offered !== null && nonce === undefined) {
      nonce = offered;
    } else if (challenge.includes('invalid_token') && !renewed) {
      renewed = true;
      token = await credentials.accessToken(token);
    } else {
      throw problemError(answer);
    }
  }
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
      `the server answers ${answer.status} and does not say why: check that the address is that of a Beacon CA`,
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
