/**
 * The token that a person's program hands to the broker (DESIGN.md section 3.1): a JWT of the CA (RFC 9068) for the
 * audience of this broker alone, bound to the program's key. It is good for five minutes and for an exchange at the CA;
 * what it says is believed here only so far that it names whose runs may be seen.
 */

import { isId } from '@beacon/protocol/id';
import { brokerAudience, isName } from '@beacon/protocol/name';
import { errors, type JWTVerifyGetKey, jwtVerify } from 'jose';
import { BrokerError } from './error.ts';

export interface HandedToken {
  readonly text: string;
  readonly person: string;
  /** The session at the CA. */
  readonly session: string;
  /** The program that the person uses: a service's id, or `beacon-cli`. */
  readonly client: string;
  /** Of the key that it is bound to. */
  readonly thumbprint: string;
  readonly expiresAt: Date;
}

export interface HandedTokenContext {
  readonly issuer: string;
  /** This broker's id among the CA's services. */
  readonly service: string;
  readonly keys: JWTVerifyGetKey;
  readonly now: Date;
}

const AUTHORIZATION = /^DPoP ([A-Za-z0-9_-]+[.][A-Za-z0-9_-]+[.][A-Za-z0-9_-]+)$/;
const MAX_LENGTH = 4096;
/** As long as such a token lives. */
const MAX_AGE_SECONDS = 300;
const HEADER_MEMBERS = ['alg', 'typ', 'kid'];
const CLAIMS = ['exp', 'iat', 'jti', 'sub', 'sid', 'client_id', 'cnf'];

/** Reads and verifies the `Authorization` header. Throws BrokerError `not-logged-in`, `token-invalid` or what `keys` throws. */
export async function verifyHandedToken(
  header: string | undefined,
  context: HandedTokenContext,
): Promise<HandedToken> {
  if (header === undefined || header === '') {
    throw new BrokerError(
      'not-logged-in',
      'the request has no access token: run `beacon login`, or send "Authorization: DPoP …"',
    );
  }
  const text = AUTHORIZATION.exec(header)?.[1];
  if (text === undefined || text.length > MAX_LENGTH) refuse('must be sent as "Authorization: DPoP <JWT>"');
  const payload = await verify(text, context);
  const { sub, sid, client_id: client, exp, aud, cnf } = payload;
  const thumbprint = typeof cnf === 'object' && cnf !== null && 'jkt' in cnf ? cnf.jkt : undefined;
  if (typeof aud !== 'string') refuse('is for more than one audience');
  if (typeof sub !== 'string' || !isName('person', sub)) refuse('names no person');
  if (typeof sid !== 'string' || !isId(sid)) refuse('names no session');
  if (typeof client !== 'string' || !isName('service', client)) refuse('names no client');
  if (typeof thumbprint !== 'string' || exp === undefined) refuse('is bound to no key');
  return { text, person: sub, session: sid, client, thumbprint, expiresAt: new Date(exp * 1000) };
}

async function verify(text: string, { issuer, service, keys, now }: HandedTokenContext) {
  try {
    const { payload, protectedHeader } = await jwtVerify(text, keys, {
      algorithms: ['EdDSA'],
      typ: 'at+jwt',
      issuer,
      audience: brokerAudience(service),
      currentDate: now,
      maxTokenAge: MAX_AGE_SECONDS,
      requiredClaims: CLAIMS,
    });
    // A key by reference or by chain is never followed, and whoever sends one means harm.
    if (Object.keys(protectedHeader).some((name) => !HEADER_MEMBERS.includes(name)))
      refuse('has a header that no token of the CA has');
    return payload;
  } catch (error) {
    if (error instanceof BrokerError) throw error;
    const what = error instanceof errors.JOSEError ? error.code : 'malformed';
    throw new BrokerError(
      'token-invalid',
      `the access token does not hold (${what}): ask the CA for a new one for this broker`,
      { cause: error },
    );
  }
}

function refuse(what: string): never {
  throw new BrokerError('token-invalid', `the access token ${what}: ask the CA for one for this broker`);
}
