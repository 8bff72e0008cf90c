/**
 * The CA's token endpoint (RFC 6749 section 3.2) with DPoP (RFC 9449): every grant passes here. A nonce that the server
 * asks for (`use_dpop_nonce`, section 8) is honoured once; tokens of any other type than DPoP are refused.
 */
import { Buffer } from 'node:buffer';
import { Answer } from './answer.ts';
import { ClientError } from './error.ts';
import { exchange, type HttpAnswer, type Outside } from './exchange.ts';
import { plainText } from './plain-text.ts';
import { createProof, type ProofKey } from './proof.ts';

export interface Tokens {
  readonly accessToken: string;
  readonly accessTokenExpiresAt: Date;
  /** Works once: a new one comes with its use. */
  readonly refreshToken?: string;
}

/** An error answer of the token endpoint (RFC 6749 section 5.2) as a value: some of them only mean "wait". */
export interface TokenRefusal {
  readonly error: string;
  readonly description: string;
}

export interface TokenRequest {
  readonly endpoint: string;
  readonly parameters: Readonly<Record<string, string | readonly string[]>>;
  readonly proofKey: ProofKey;
  readonly signal?: AbortSignal;
}

const MAX_TOKEN_CHARACTERS = 16 * 1024;
const VISIBLE = /^[\x21-\x7e]+$/;

/** Asks for tokens; a refusal is a value. Throws ClientError for everything that is no OAuth answer. */
export async function requestTokens(outside: Outside, request: TokenRequest): Promise<Tokens | TokenRefusal> {
  const answer = await post(outside, request);
  if (answer.status === 200) return readTokens(answer, outside.now());
  return readTokenRefusal(answer);
}

/** Whether the token endpoint said no. */
export function isRefusal(answer: Tokens | TokenRefusal): answer is TokenRefusal {
  return 'error' in answer;
}

/** A refusal as an error, for callers to whom none of them means "wait". */
export function refusalError(refusal: TokenRefusal): ClientError {
  const said = refusal.description === '' ? refusal.error : `${refusal.error}: ${refusal.description}`;
  const problem = { code: refusal.error, detail: refusal.description, id: '' };
  switch (refusal.error) {
    case 'invalid_grant':
      return new ClientError('session-ended', 'unauthenticated', 'your session has ended: log in again', {
        problem,
      });
    case 'access_denied':
      return new ClientError('oauth-refused', 'denied', `the CA refused (${said})`, { problem });
    case 'invalid_client':
      return new ClientError(
        'oauth-refused',
        'unauthenticated',
        `the CA does not know this client (${said})`,
        {
          problem,
        },
      );
    case 'temporarily_unavailable':
    case 'server_error':
      return new ClientError(
        'oauth-refused',
        'unavailable',
        `the CA cannot answer now (${said}): try again`,
        {
          problem,
        },
      );
    default:
      return new ClientError('oauth-refused', 'invalid', `the CA refused the request (${said})`, { problem });
  }
}

/** Reads an OAuth error answer. Throws ClientError `answer-malformed` when it is none. */
export function readTokenRefusal(answer: HttpAnswer): TokenRefusal {
  if (answer.status >= 500 && !isJson(answer)) {
    throw new ClientError(
      'unreachable',
      'unavailable',
      `the server answers ${answer.status}: try again later`,
    );
  }
  const fields = Answer.read(answer.body, 'the OAuth error');
  const description = fields.has('error_description') ? fields.text('error_description') : '';
  return { error: plainText(fields.text('error'), 100), description: plainText(description, 500) };
}

/** A form body (RFC 6749 appendix B); a list stands for a parameter that is given more than once. */
export function formBody(parameters: TokenRequest['parameters']): Buffer<ArrayBuffer> {
  const form = new URLSearchParams();
  for (const [name, values] of Object.entries(parameters)) {
    for (const value of typeof values === 'string' ? [values] : values) form.append(name, value);
  }
  return Buffer.from(form.toString());
}

async function post(outside: Outside, request: TokenRequest): Promise<HttpAnswer> {
  const body = formBody(request.parameters);
  let nonce: string | undefined;
  for (let attempt = 1; ; attempt++) {
    const answer = await exchange(outside, {
      method: 'POST',
      url: request.endpoint,
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        dpop: await createProof(request.proofKey, {
          method: 'POST',
          url: request.endpoint,
          now: outside.now(),
          ...(nonce === undefined ? {} : { nonce }),
        }),
      },
      body,
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    });
    nonce = answer.headers.get('dpop-nonce') ?? undefined;
    const asked =
      answer.status === 400 && isJson(answer) && readTokenRefusal(answer).error === 'use_dpop_nonce';
    if (!asked || nonce === undefined || nonce.length > 1000 || attempt > 1) return answer;
  }
}

function readTokens(answer: HttpAnswer, now: Date): Tokens {
  const fields = Answer.read(answer.body, 'the token answer');
  if (fields.text('token_type', 20).toLowerCase() !== 'dpop') {
    throw new ClientError(
      'answer-untrusted',
      'internal',
      'the CA gave a token that is bound to no key: it is not used',
    );
  }
  const seconds = fields.integer('expires_in', 1, 86_400);
  return {
    accessToken: token(fields, 'access_token'),
    accessTokenExpiresAt: new Date(now.getTime() + seconds * 1000),
    ...(fields.has('refresh_token') ? { refreshToken: token(fields, 'refresh_token') } : {}),
  };
}

/** A token goes into a header: anything but visible ASCII is refused. */
function token(fields: Answer, name: string): string {
  const value = fields.text(name, MAX_TOKEN_CHARACTERS);
  if (!VISIBLE.test(value))
    throw new ClientError('answer-malformed', 'internal', `the CA's ${name} is no token`);
  return value;
}

function isJson(answer: HttpAnswer): boolean {
  return (answer.headers.get('content-type') ?? '').startsWith('application/json');
}
