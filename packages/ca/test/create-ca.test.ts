import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { certificateRoutes } from '../src/certificate-routes.ts';
import { createCa } from '../src/create-ca.ts';
import { enrolmentRoutes } from '../src/enrolment-routes.ts';
import { inventoryRoutes } from '../src/inventory-routes.ts';
import { recordRoutes } from '../src/record-routes.ts';
import { trustRoutes } from '../src/trust-routes.ts';
import { createTrustStatus } from '../src/trust-status.ts';
import { type LoggedIn, policyText, refusal, SmallCa } from './small-ca.ts';

let ca: SmallCa;
beforeAll(async () => {
  ca = await SmallCa.start();
});
afterAll(() => ca.close());

describe('what a CA starts with', () => {
  const from = (files: Record<string, string>) => async () => {
    const policies = Object.entries(files).map(([name, text]) => ({ name, text }));
    const running = await createCa({ ...ca.options, store: ':memory:', policies });
    await running.close();
  };

  test.each<[string, Record<string, string>, string]>([
    ['does not parse', { 'a.cedar': 'permit (' }, 'parse'],
    ['is no policy at all', { 'a.cedar': 'hello' }, 'parse'],
    [
      'names an unknown attribute',
      { 'a.cedar': 'permit (principal, action == Action::"ssh", resource) when { context.logn == "x" };' },
      'schema',
    ],
    [
      'names an unknown action',
      { 'a.cedar': 'permit (principal, action == Action::"runner.instal", resource);' },
      'unknown-action',
    ],
    [
      'has an id twice',
      {
        'a.cedar': '@id("x") permit (principal, action == Action::"ssh", resource);',
        'b.cedar': '@id("x") permit (principal, action == Action::"ssh", resource);',
      },
      'doubled-id',
    ],
    [
      'has an unknown annotation',
      { 'a.cedar': '@max_lifetme("15m") permit (principal, action == Action::"ssh", resource);' },
      'annotation',
    ],
    [
      'forbids by a membership',
      { 'a.cedar': 'forbid (principal in Team::"github:1", action == Action::"ssh", resource);' },
      'membership-in-forbid',
    ],
    [
      'is a template',
      { 'a.cedar': 'permit (principal == ?principal, action == Action::"ssh", resource);' },
      'template',
    ],
  ])('P1: refuses to start with a policy that %s', async (_what, files, code) => {
    await expect(from(files)()).rejects.toMatchObject({ name: 'PolicyError', code });
  });

  test('P1: each key of the policies mutated is refused or decides as it is written, never more', async () => {
    const words = [
      'principal',
      'action',
      'resource',
      'Team',
      'Pool',
      'context',
      'login',
      'permit',
      'when',
      'extensions',
    ];
    let refused = 0;
    for (const word of words) {
      for (const mutated of [`${word}x`, word.slice(0, -1), word.toUpperCase()]) {
        const text = policyText.replaceAll(new RegExp(`\\b${word}\\b`, 'g'), mutated);
        const outcome = await from({ 'a.cedar': text })().then(
          () => 'started',
          (error: { name: string }) => error.name,
        );
        expect(['PolicyError', 'started']).toContain(outcome);
        refused += outcome === 'PolicyError' ? 1 : 0;
      }
    }
    expect(refused).toBe(words.length * 3);
  });

  test('with a store that is in use it does not start, and leaves the other at work', async () => {
    await expect(createCa(ca.options)).rejects.toMatchObject({ code: 'store-in-use' });
    expect((await ca.send('GET', '/readyz')).status).toBe(200);
  });
});

describe('openapi.json', () => {
  test('holds every route of the API and nothing else, and each of its references leads somewhere', async () => {
    const { body } = await ca.send('GET', '/openapi.json');
    expect(body['openapi']).toMatch(/^3\.1\./);
    expect(body['servers']).toEqual([{ url: ca.url }]);
    const parts = ca.running.ca;
    const routes = [
      ...certificateRoutes(parts),
      ...inventoryRoutes(parts),
      ...trustRoutes(parts, createTrustStatus(parts)),
      ...enrolmentRoutes(parts, ca.options.log),
      ...recordRoutes(parts, { tokenSigning: ca.keys.tokenSigning }),
    ].map(({ method, path }) => `${method} ${path}`);
    const described = Object.entries(body['paths'] as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(described.sort()).toEqual([...routes, 'GET /healthz', 'GET /readyz'].sort());
    const references = [...JSON.stringify(body).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(
      ([, path = '']) => path,
    );
    expect(references.length).toBeGreaterThan(10);
    for (const path of references) {
      const found = path
        .split('/')
        .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], body);
      expect([path, typeof found]).toEqual([path, 'object']);
    }
    const ids = Object.values(body['paths'] as Record<string, Record<string, { operationId?: string }>>)
      .flatMap((methods) => Object.values(methods))
      .map(({ operationId }) => operationId);
    expect(new Set(ids).size).toBe(ids[0] === undefined ? 1 : ids.length);
  });

  test('every route that it holds is answered: with 401 where it wants a token, never as an unknown path', async () => {
    const { body } = await ca.send('GET', '/openapi.json');
    for (const [path, methods] of Object.entries(
      body['paths'] as Record<string, Record<string, { security?: unknown[] }>>,
    )) {
      const real = path
        .replace('{serial}', '1')
        .replace('{version}', '1')
        .replace('{person}', 'github:1')
        .replace('/sessions/{id}', `/sessions/0${'1'.repeat(25)}`)
        .replace('/host-tokens/{id}', `/host-tokens/0${'1'.repeat(25)}`)
        .replace('{id}', 'web-01');
      for (const method of Object.keys(methods)) {
        const reply = await ca.send(method.toUpperCase(), real, method === 'post' ? '{}' : undefined);
        const isPublic = ['/v1/krl', '/v1/checkpoint', '/v1/ca-keys', '/healthz', '/readyz'].includes(path);
        const isTrust = method === 'get' && path.startsWith('/v1/trust/');
        const isMachine =
          method === 'post' && /^\/v1\/host-(enrolments|renewals|self-tests|reports)$/.test(path);
        const refused = isTrust ? 'trust-unpublished' : isMachine ? 'body-malformed' : 'token-missing';
        expect([path, reply.status, reply.body['code']]).toEqual([
          path,
          isPublic ? 200 : isTrust ? 404 : isMachine ? 400 : 401,
          isPublic ? undefined : refused,
        ]);
      }
    }
  });

  test('what there is not is a problem document: unknown paths, methods, bodies and queries', async () => {
    for (const [method, path, status, code] of [
      ['GET', '/', 404, 'path-unknown'],
      ['GET', '/v1', 404, 'path-unknown'],
      ['GET', '/v1/hosts/', 404, 'path-unknown'],
      ['GET', '/V1/hosts', 404, 'path-unknown'],
      ['GET', '/metrics', 404, 'path-unknown'],
      ['PUT', '/v1/certificates', 405, 'method-not-allowed'],
      ['DELETE', '/v1/krl', 405, 'method-not-allowed'],
      ['GET', '/v1/revocations', 405, 'method-not-allowed'],
      ['GET', '/v1/krl?x=1', 400, 'query-malformed'],
    ] as const) {
      const reply = await ca.send(method, path);
      expect([path, refusal(reply)]).toEqual([path, { status, code }]);
      expect(reply.headers.get('content-type')).toBe('application/problem+json');
      expect(reply.body).toMatchObject({
        type: expect.stringMatching(/^urn:beacon:problem:|^https?:/),
        title: expect.any(String),
        id: reply.headers.get('x-request-id'),
      });
    }
  });

  test('every answer says not to be kept, and carries strict headers', async () => {
    for (const path of ['/v1/krl', '/v1/hosts', '/nothing', '/openapi.json']) {
      const { headers } = await ca.send('GET', path);
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-powered-by')).toBeNull();
    }
  });
});

describe('secrets', () => {
  test('T8, L7, O13: no token, proof, code, salt, secret or key stands in logs, records, refusals or the store', async () => {
    const own = await SmallCa.start();
    try {
      const [ada, lin] = [await own.login('ada'), await own.login('lin')];
      const portal: LoggedIn = await own.loginAtPortal('lin');
      own.canaries.push(portal.accessToken);
      const [salt, secretSalt] = [randomBytes(32), randomBytes(32)];
      const secret = 'AABBCC-registration-token-canary';
      const commitment = createHash('sha256')
        .update('beacon-secret-1\0')
        .update(secretSalt)
        .update(secret)
        .digest('base64url');
      const commands = [
        {
          command: 'runner.configure',
          params: '{"name":"r1","scope":"acme/site"}',
          salt: salt.toString('base64url'),
          commitments: { token: commitment },
        },
      ];
      own.canaries.push(salt.toString('base64url'), secret);
      expect((await own.sign(portal, { commands })).status).toBe(201);
      expect((await own.sign(lin)).status).toBe(201);
      expect((await own.sign(lin, { host: 'db-01' })).status).toBe(403);
      expect((await own.sign(lin, { commands })).status).toBe(403);
      expect((await own.sign(lin, { salt: salt.toString('base64url') })).status).toBe(400);
      expect((await own.ask(lin, 'GET', `/v1/hosts?access_token=${lin.accessToken}`)).status).toBe(400);
      expect((await own.ask({ ...lin, accessToken: `${lin.accessToken}x` }, 'GET', '/v1/hosts')).status).toBe(
        401,
      );
      expect(
        (
          await own.send(
            'POST',
            '/oauth/token',
            `grant_type=refresh_token&refresh_token=${lin.refreshToken}&client_id=beacon-cli`,
            { 'content-type': 'application/x-www-form-urlencoded' },
          )
        ).status,
      ).toBeGreaterThanOrEqual(400);
      own.standin.state.fault({ path: '*', effect: { kind: 'answer', status: 500 } });
      own.clock.offsetMs = 61_000;
      expect((await own.sign(lin)).status).toBe(503);
      own.standin.state.clearFaults();
      await own.ask(ada, 'POST', '/v1/revocations', { v: 1, by: 'person', value: 'github:102', reason: 'x' });
      await own.running.ca.store.updateTable('hosts').set({ content: '{}' }).execute();
      expect((await own.sign(ada, { login: 'root' })).status).toBe(500);
      const sealed = own.keys.sealing.toString('base64');
      const canaries = [
        ...own.canaries,
        ...own.standin.state.canaries,
        sealed,
        String(own.keys.tokenSigning.d),
      ];
      expect(canaries.length).toBeGreaterThan(40);
      const places: Record<string, Buffer> = {
        logs: Buffer.from(own.logs.join('')),
        records: Buffer.from((await own.records()).map(({ line }) => line).join('\n')),
        refusals: Buffer.from(own.refusals.join('\n')),
        store: own.storedBytes(),
      };
      for (const [place, bytes] of Object.entries(places)) {
        expect(bytes.length).toBeGreaterThan(1000);
        const found = canaries.filter((canary) => canary.length >= 8 && bytes.includes(canary));
        expect([place, found]).toEqual([place, []]);
      }
    } finally {
      await own.close();
    }
  });
});
