/**
 * How a service proves to the CA that it is itself: `private_key_jwt` (RFC 7523 section 2.2, OpenID Connect Core
 * section 9), a JWT of one minute, used once. The public half of the key stands in the CA's reviewed services file.
 */
import { type KeyObject, randomUUID } from 'node:crypto';
import { SignJWT } from 'jose/jwt/sign';

/** A service that is known to the CA. */
export interface ServiceClient {
  readonly clientId: string;
  /** A private Ed25519 key (`EdDSA`) or P-256 key (`ES256`). */
  readonly privateKey: KeyObject;
  /** The key's id in the CA's services file. */
  readonly keyId: string;
}

const LIFETIME_SECONDS = 60;
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

/** The parameters that authenticate one request of `client` to the CA whose issuer this is. */
export async function clientAssertion(
  client: ServiceClient,
  issuer: string,
  now: Date,
): Promise<Record<'client_id' | 'client_assertion_type' | 'client_assertion', string>> {
  const seconds = Math.floor(now.getTime() / 1000);
  const algorithm = client.privateKey.asymmetricKeyType === 'ed25519' ? 'EdDSA' : 'ES256';
  const assertion = await new SignJWT({ jti: randomUUID() })
    .setProtectedHeader({ alg: algorithm, kid: client.keyId })
    .setIssuer(client.clientId)
    .setSubject(client.clientId)
    .setAudience(issuer)
    .setIssuedAt(seconds)
    .setExpirationTime(seconds + LIFETIME_SECONDS)
    .sign(client.privateKey);
  return { client_id: client.clientId, client_assertion_type: ASSERTION_TYPE, client_assertion: assertion };
}
