import { expect, test } from '@jest/globals';
import {
  audiences,
  clientMetadata,
  type OauthService,
  purposesOf,
  serviceOfAudience,
} from '../src/oauth-client.ts';

const keys = [{ kid: 'k', kty: 'OKP' }];
const service = (id: string, may: string[], redirect_uris: string[] = []): OauthService => ({
  id,
  name: `The ${id}`,
  keys,
  may,
  redirect_uris,
});
const services = new Map(
  [
    service('portal', ['login', 'exchange'], ['https://portal.example/callback']),
    service('nightly', ['run-certificates']),
    service('viewer', ['login'], ['https://viewer.example/']),
    service('lost', ['login']),
  ].map((one) => [one.id, one]),
);

test('every client must bind its tokens to a key, and may use what it is allowed to, no more', () => {
  const clients = Object.fromEntries(clientMetadata(services).map((client) => [client.client_id, client]));
  for (const client of Object.values(clients)) expect(client.dpop_bound_access_tokens).toBe(true);
  const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
  expect(clients['beacon-cli']).toMatchObject({
    token_endpoint_auth_method: 'none',
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
    response_types: [],
  });
  expect(clients['portal']).toMatchObject({
    token_endpoint_auth_method: 'private_key_jwt',
    grant_types: ['authorization_code', 'refresh_token', exchange],
  });
  expect(clients['viewer']?.grant_types).not.toContain(exchange);
  for (const id of ['nightly', 'lost'])
    expect(clients[id]).toMatchObject({ grant_types: [], response_types: [] });
});

test('only a service that may exchange has an audience', () => {
  expect(audiences(services)).toEqual(['urn:beacon:ca', 'urn:beacon:broker:portal']);
  for (const audience of [
    'urn:beacon:broker:viewer',
    'urn:beacon:broker:',
    'urn:beacon:broker:none',
    'urn:beacon:ca',
    'portal',
  ]) {
    expect(serviceOfAudience(services, audience)).toBeUndefined();
  }
});

test('a person is told in words what each audience is for', () => {
  const [ca, portal] = purposesOf(services, ['urn:beacon:ca', 'urn:beacon:broker:portal']);
  expect(ca).toContain('SSH certificates');
  expect(portal).toContain('The portal');
});
