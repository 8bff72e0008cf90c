/**
 * Token exchange (RFC 8693): a service that was handed a person's token for it gets a CA token bound to its own key, so
 * that policy sees the service and its limits (DESIGN.md section 3.1). The result lives minutes and cannot be renewed:
 * the next request brings the next token.
 */
import { CA_AUDIENCE } from '@beacon/protocol/name';
import { clientAssertion, type ServiceClient } from './client-assertion.ts';
import type { CaMetadata } from './discovery.ts';
import { defaultOutside, type Outside } from './exchange.ts';
import type { ProofKey } from './proof.ts';
import { isRefusal, refusalError, requestTokens, type Tokens } from './token-endpoint.ts';

export interface TokenExchange {
  readonly metadata: CaMetadata;
  readonly service: ServiceClient;
  /** The service's own key: the new token is bound to it. */
  readonly proofKey: ProofKey;
  /** The JWT that the person's client sent, for the audience of this service. */
  readonly subjectToken: string;
  readonly outside?: Outside;
}

/** A CA token for the person behind `subjectToken`. Throws ClientError `session-ended` or `oauth-refused`. */
export async function exchangeToken(exchange: TokenExchange): Promise<Tokens> {
  const outside = exchange.outside ?? defaultOutside();
  const answer = await requestTokens(outside, {
    endpoint: exchange.metadata.tokenEndpoint,
    parameters: {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: exchange.subjectToken,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      resource: CA_AUDIENCE,
      ...(await clientAssertion(exchange.service, exchange.metadata.issuer, outside.now())),
    },
    proofKey: exchange.proofKey,
  });
  if (isRefusal(answer)) throw refusalError(answer);
  return answer;
}
