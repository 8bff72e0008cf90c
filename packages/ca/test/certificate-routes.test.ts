import { fingerprint } from '@beacon/ssh/public-key';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type LoggedIn, newSigner, type Reply, refusal, SmallCa } from './small-ca.ts';

let ca: SmallCa;
let ada: LoggedIn;
let lin: LoggedIn;
let kim: LoggedIn;
const ofLin: string[] = [];
const ofKim: string[] = [];
beforeAll(async () => {
  ca = await SmallCa.start();
  [ada, lin, kim] = [await ca.login('ada'), await ca.login('lin'), await ca.login('kim')];
  for (let i = 0; i < 7; i += 1) {
    ofLin.push((await ca.sign(lin)).body['serial']);
    if (i < 3) ofKim.push((await ca.sign(kim)).body['serial']);
  }
});
afterAll(() => ca.close());

const list = (who: LoggedIn, query = '') => ca.ask(who, 'GET', `/v1/certificates${query}`);
const serialsOf = ({ body }: Reply) =>
  (body['certificates'] as { serial: string }[]).map(({ serial }) => serial);

describe('the list of certificates', () => {
  test('shows one’s own alone, newest first, and refuses another’s', async () => {
    const own = [...ofLin].reverse();
    for (const query of ['', '?person=github:102', '?host=web-01'])
      expect(serialsOf(await list(lin, query))).toEqual(own);
    expect(refusal(await list(lin, '?person=github:105'))).toEqual({ status: 403, code: 'policy-denied' });
    expect(await ca.lastRecord()).toMatchObject({ kind: 'refused', facts: { action: 'ca.records' } });
    expect(serialsOf(await list(lin, '?host=db-01'))).toEqual([]);
  });

  test('shows everybody’s with ca.records, hosts’ too, and narrows them', async () => {
    const all = serialsOf(await list(ada));
    expect(all).toHaveLength(2 + ofLin.length + ofKim.length);
    expect(all.map(BigInt)).toEqual(all.map(BigInt).sort((a, b) => (a > b ? -1 : 1)));
    expect(serialsOf(await list(ada, '?person=github:105'))).toEqual([...ofKim].reverse());
    expect(serialsOf(await list(ada, '?host=db-01'))).toEqual(['2']);
    const [first] = (await list(ada, '?person=github:105&limit=1')).body['certificates'];
    expect(serialsOf(await list(ada, `?grant=${first.grant}`))).toEqual([first.serial]);
  });

  test('comes in pages that miss and repeat nothing', async () => {
    const seen: string[] = [];
    for (let before = ''; ; ) {
      const page = serialsOf(await list(lin, `?limit=3${before === '' ? '' : `&before=${before}`}`));
      seen.push(...page);
      before = page.at(-1) ?? '';
      if (page.length < 3) break;
    }
    expect(seen).toEqual([...ofLin].reverse());
  });

  test.each([
    'limit=0',
    'limit=501',
    'limit=x',
    'limit=',
    'limit=0x10',
    'limit=1e2',
    'limit=1.0',
    'limit=%201',
    'limit=1&limit=2',
    'before=0',
    'before=-1',
    'person=lin',
    'unknown=1',
    'grant=x',
  ])('refuses the query %s', async (query) => {
    expect(refusal(await list(ada, `?${query}`))).toEqual({ status: 400, code: 'query-malformed' });
  });
});

describe('one certificate', () => {
  test('is shown to its person and with ca.records; to others it is as if it were not', async () => {
    const [serial = ''] = ofLin;
    const entry = (await ca.ask(lin, 'GET', `/v1/certificates/${serial}`)).body;
    expect(entry).toMatchObject({
      serial,
      kind: 'user',
      person: 'github:102',
      service: 'beacon-cli',
      host: 'web-01',
      login: 'deploy',
      commands: [],
      authority: fingerprint(ca.keys.userCa.publicKey),
      revoked: false,
    });
    expect((await ca.ask(ada, 'GET', `/v1/certificates/${serial}`)).body).toEqual(entry);
    const theirs = await ca.ask(kim, 'GET', `/v1/certificates/${serial}`);
    const none = await ca.ask(kim, 'GET', '/v1/certificates/999999');
    expect(refusal(theirs)).toEqual({ status: 404, code: 'certificate-unknown' });
    expect(theirs.body['detail'].replace(serial, '')).toBe(none.body['detail'].replace('999999', ''));
    expect((await ca.ask(lin, 'GET', '/v1/certificates/1')).status).toBe(404);
    expect((await ca.ask(ada, 'GET', '/v1/certificates/1')).body).toMatchObject({
      kind: 'host',
      person: null,
      grant: null,
    });
  });

  test.each(['0', '01', '-1', '1e3', '18446744073709551616', 'x', '%31%00'])(
    'refuses the serial %s',
    async (serial) => {
      const reply = await ca.ask(ada, 'GET', `/v1/certificates/${serial}`);
      expect(refusal(reply)).toEqual({ status: 400, code: 'path-malformed' });
    },
  );
});

/** Something for each place of a path. */
const NAMED: Readonly<Record<string, string>> = {
  hosts: 'web-01',
  certificates: '1',
  sessions: '0'.repeat(26),
  'host-tokens': '0'.repeat(26),
  persons: 'github:102',
};

describe('every route', () => {
  test('T4: takes an access token for the CA, and no other kind of token', async () => {
    const there = await ca.login('lin', ['urn:beacon:broker:portal', 'urn:beacon:ca']);
    expect(there.accessToken).toContain('.');
    const portal = await ca.loginAtPortal('lin');
    const described = (await ca.send('GET', '/openapi.json')).body['paths'] as Record<
      string,
      Record<string, { security?: unknown[] }>
    >;
    const routes = Object.entries(described).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([, { security }]) => (security ?? []).length > 0)
        .map(
          ([method]) =>
            [
              method.toUpperCase(),
              path.replace(/([\w-]+)\/\{\w+\}/, (_, of) => `${of}/${NAMED[of]}`),
            ] as const,
        ),
    );
    expect(routes.length).toBeGreaterThan(12);
    for (const [method, path] of routes) {
      const body = method === 'POST' ? { v: 1 } : undefined;
      for (const accessToken of [
        there.accessToken,
        there.refreshToken,
        lin.refreshToken,
        'beacon-cli'.repeat(4),
      ])
        expect(refusal(await ca.ask({ ...there, accessToken }, method, path, body))).toEqual({
          status: 401,
          code: 'token-invalid',
        });
      // Another's token with one's own key, and one's own with another's.
      expect(
        refusal(await ca.ask({ ...lin, accessToken: portal.accessToken }, method, path, body)),
      ).toMatchObject({
        code: 'proof-invalid',
      });
      const bearer = { authorization: `Bearer ${lin.accessToken}` };
      expect(refusal(await ca.ask(lin, method, path, body, { headers: bearer }))).toMatchObject({
        status: 401,
      });
    }
  });
});

describe('every write', () => {
  test('without a token, with a foreign proof or with another body is refused and does nothing', async () => {
    const before = [(await ca.records()).length, await ca.serials()];
    const body = JSON.stringify({ v: 1, by: 'serial', value: ofLin[0], reason: 'x' });
    const path = '/v1/revocations';
    expect(refusal(await ca.send('POST', path, body))).toEqual({ status: 401, code: 'token-missing' });
    expect(
      refusal(await ca.ask({ ...lin, accessToken: 'x'.repeat(43) }, 'POST', path, undefined, { raw: body })),
    ).toMatchObject({ code: 'token-invalid' });
    expect(
      refusal(await ca.ask({ ...lin, proofKey: kim.proofKey }, 'POST', path, undefined, { raw: body })),
    ).toMatchObject({ code: 'proof-invalid' });
    for (const proof of [
      await ca.proof(lin, 'POST', path),
      await ca.proof(lin, 'POST', path, `${body} `),
      await ca.proof(lin, 'GET', path, body),
      await ca.proof(lin, 'POST', '/v1/certificates', body),
    ])
      expect((await ca.ask(lin, 'POST', path, undefined, { raw: body, proof })).status).toBe(401);
    expect([(await ca.records()).length, await ca.serials()]).toEqual(before);
  });

  test('answers 401 with a challenge that says what to renew', async () => {
    expect((await ca.send('GET', '/v1/hosts')).headers.get('www-authenticate')).toBe(
      'DPoP algs="EdDSA ES256"',
    );
    const proof = await ca.proof(lin, 'GET', '/v1/hosts');
    await ca.ask(lin, 'GET', '/v1/hosts', undefined, { proof });
    const replayed = await ca.ask(lin, 'GET', '/v1/hosts', undefined, { proof });
    expect(replayed.body['code']).toBe('proof-replayed');
    expect(replayed.headers.get('www-authenticate')).toContain('error="invalid_dpop_proof"');
    const theirs = await ca.sign(lin, {}, { keyProof: 'AAAA', signer: newSigner() });
    expect(theirs.headers.get('www-authenticate')).toContain('error="invalid_dpop_proof"');
    const token = await ca.ask({ ...lin, accessToken: 'x'.repeat(43) }, 'GET', '/v1/hosts');
    expect(token.headers.get('www-authenticate')).toContain('error="invalid_token"');
  });
});
