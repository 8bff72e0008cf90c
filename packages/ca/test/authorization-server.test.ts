import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { Lab, makeKeys, makeService } from './authorization-lab.ts';

const portal = await makeService('portal', ['login', 'exchange'], ['https://portal.example/callback']);
let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start({ services: [portal.service] });
});
afterAll(() => lab.close());

test('a login by the device grant gives an opaque token for the CA and a JWT for a broker, across restarts', async () => {
  const keys = await makeKeys();
  const tokens = await lab.login(keys, 'alice', ['urn:beacon:ca', 'urn:beacon:broker:portal']);
  expect(tokens.answer).toMatchObject({ token_type: 'DPoP', expires_in: 600 });
  expect(tokens.access).not.toContain('.');
  await lab.restart();
  expect(await lab.whoami(keys, tokens.access)).toMatchObject({
    status: 200,
    answer: { person: 'github:583231', loginName: 'alice', service: 'beacon-cli' },
  });
  const second = await lab.refresh(keys, tokens.refresh, { resource: 'urn:beacon:broker:portal' });
  expect(second).toMatchObject({ status: 200, answer: { token_type: 'DPoP', expires_in: 300 } });
  const jwt = String(second.answer['access_token']);
  expect(decodeProtectedHeader(jwt)).toMatchObject({ alg: 'EdDSA', typ: 'at+jwt', kid: 'tokens-1' });
  expect(decodeJwt(jwt)).toMatchObject({
    iss: lab.url,
    sub: 'github:583231',
    aud: 'urn:beacon:broker:portal',
    client_id: 'beacon-cli',
    cnf: { jkt: keys.thumbprint },
    sid: expect.stringMatching(/^[0-7][0-9a-z]{25}$/),
  });
  await lab.restart();
  const service = await makeKeys();
  const exchanged = await lab.token(service, {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: jwt,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    ...(await portal.assertion(lab.url)),
  });
  expect(exchanged).toMatchObject({ status: 200, answer: { token_type: 'DPoP' } });
  await lab.restart();
  expect(await lab.whoami(service, String(exchanged.answer['access_token']))).toMatchObject({
    status: 200,
    answer: { person: 'github:583231', service: 'portal' },
  });
  expect(lab.warnings).toEqual([]);
});
