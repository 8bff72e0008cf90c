/**
 * Who may ask the authorization server for tokens: the command line, which is public and built in, and the services of
 * the reviewed file, which prove themselves by `private_key_jwt`. Every client's tokens are bound to a key (RFC 9449).
 * The audiences (RFC 8707): this CA, and one per service that may exchange tokens made for it.
 */
import { brokerAudience, CA_AUDIENCE } from '@beacon/protocol/name';
import type { Adapter, AdapterPayload, ClientMetadata, JWK } from 'oidc-provider';

/** What is read of a service; the configuration's `Service` has it. */
export interface OauthService {
  readonly id: string;
  readonly name: string;
  readonly keys: readonly { readonly kid: string; readonly kty: string }[];
  readonly redirect_uris: readonly string[];
  readonly may: readonly string[];
}

export const COMMAND_LINE_CLIENT = 'beacon-cli';
/** The one scope: what a token may do is its audience's and policy's to say. */
export const SCOPE = 'beacon';

export const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
export const EXCHANGE_GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';

/** The service whose audience this is, if it takes tokens. */
export function serviceOfAudience(
  services: ReadonlyMap<string, OauthService>,
  audience: string,
): OauthService | undefined {
  return [...services.values()].find(
    ({ id, may }) => may.includes('exchange') && brokerAudience(id) === audience,
  );
}

/** Every audience that a token can be asked for. */
export function audiences(services: ReadonlyMap<string, OauthService>): string[] {
  const brokers = [...services.values()].filter(({ may }) => may.includes('exchange'));
  return [CA_AUDIENCE, ...brokers.map(({ id }) => brokerAudience(id))];
}

/** What a token for these audiences can be used for, in words. */
export function purposesOf(services: ReadonlyMap<string, OauthService>, asked: readonly string[]): string[] {
  return asked.map((audience) => {
    const service = serviceOfAudience(services, audience);
    return service === undefined
      ? 'ask this certificate authority for SSH certificates, and manage what policy lets you manage, in your name'
      : `start runs in your name through ${service.name}`;
  });
}

/** The clients as oidc-provider takes them. */
export function clientMetadata(services: ReadonlyMap<string, OauthService>): ClientMetadata[] {
  return [
    {
      client_id: COMMAND_LINE_CLIENT,
      client_name: 'beacon, the command line',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: [DEVICE_GRANT, 'refresh_token'],
      response_types: [],
      redirect_uris: [],
      ...everyClient(),
    },
    ...[...services.values()].map((service): ClientMetadata => {
      const login = service.may.includes('login') && service.redirect_uris.length > 0;
      return {
        client_id: service.id,
        client_name: service.name,
        application_type: 'web',
        token_endpoint_auth_method: 'private_key_jwt',
        jwks: { keys: service.keys.map((key): JWK => ({ ...key })) },
        grant_types: [
          ...(login ? ['authorization_code', 'refresh_token'] : []),
          ...(service.may.includes('exchange') ? [EXCHANGE_GRANT] : []),
        ],
        response_types: login ? ['code'] : [],
        redirect_uris: login ? [...service.redirect_uris] : [],
        ...everyClient(),
      };
    }),
  ];
}

function everyClient(): Pick<
  ClientMetadata,
  'dpop_bound_access_tokens' | 'id_token_signed_response_alg' | 'scope'
> {
  return { dpop_bound_access_tokens: true, id_token_signed_response_alg: 'EdDSA' };
}

/** Clients are what the reviewed file says now and are never written. */
export function createClientAdapter(services: ReadonlyMap<string, OauthService>): Adapter {
  const never = async () => undefined;
  return {
    find: async (id) => {
      const service = services.get(id);
      const known = new Map(service === undefined ? [] : [[id, service]]);
      return clientMetadata(known).find(({ client_id }) => client_id === id) as AdapterPayload | undefined;
    },
    upsert: never,
    findByUid: never,
    findByUserCode: never,
    consume: never,
    destroy: never,
    revokeByGrantId: never,
  };
}
