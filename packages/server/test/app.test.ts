import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import express from 'express';
import { z } from 'zod';
import {
  createApp,
  createLimits,
  createLog,
  createMetrics,
  metricsRoute,
  routeDefiner,
} from '../src/index.ts';
import { type AppOnLoopback, type Caller, startApp } from './app-on-loopback.ts';
import { codeOf } from './temporary.ts';

const defineRoute = routeDefiner<Caller, 'person'>();

const echo = defineRoute({
  method: 'POST',
  path: '/v1/things/{name}',
  summary: 'Says what it was given',
  tag: 'things',
  access: 'public',
  request: {
    params: z.strictObject({ name: z.string().regex(/^[a-z]+$/) }),
    query: z.strictObject({
      limit: z
        .string()
        .regex(/^[0-9]+$/)
        .transform(Number)
        .optional(),
    }),
    body: z.strictObject({ v: z.literal(1), list: z.array(z.strictObject({ id: z.string() })).optional() }),
  },
  responses: { 200: { description: 'What it was given' } },
  handle: ({ params, query, body, rawBody, request }) => ({
    status: 200,
    body: {
      params,
      query,
      body,
      raw: rawBody.toString(),
      ip: request.ip,
      url: request.url,
      host: request.headers['host'],
    },
  }),
});

const fixed = defineRoute({
  method: 'GET',
  path: '/v1/things/fixed',
  summary: 'A path that a parameter would also match',
  tag: 'things',
  access: 'public',
  request: {},
  responses: { 200: { description: 'Fixed' } },
  handle: () => ({ status: 200, body: { fixed: true } }),
});

const named = defineRoute({
  method: 'GET',
  path: '/v1/me',
  summary: 'Who is asking',
  tag: 'things',
  access: 'person',
  request: {},
  responses: { 200: { description: 'The caller' } },
  handle: ({ caller }) => ({ status: 200, body: { name: caller.name } }),
});

function failing(path: string, error: unknown) {
  return defineRoute({
    method: 'GET',
    path,
    summary: 'Fails',
    tag: 'things',
    access: 'public',
    request: {},
    responses: { 200: { description: 'Never' } },
    handle: () => {
      throw error;
    },
  });
}

const json = { 'content-type': 'application/json' };

async function ask(app: AppOnLoopback, path: string, init: RequestInit = {}) {
  const response = await fetch(app.url + path, init);
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: text === '' ? undefined : JSON.parse(text),
  };
}

describe('a route', () => {
  test('is given its parameters, query, body and the exact bytes', async () => {
    const app = await startApp({ routes: [echo] });
    const raw = '{ "v": 1 , "list": [] }';
    const { status, body } = await ask(app, '/v1/things/abc?limit=5', {
      method: 'POST',
      headers: json,
      body: raw,
    });
    expect(status).toBe(200);
    expect(body).toEqual({
      params: { name: 'abc' },
      query: { limit: 5 },
      body: { v: 1, list: [] },
      raw,
      ip: '127.0.0.1',
      url: 'https://ca.example.org/v1/things/abc',
      host: 'ca.example.org',
    });
  });

  test('with a fixed path wins over one with a parameter, in whatever order they come', async () => {
    const wide = {
      ...fixed,
      path: '/v1/things/{name}',
      request: { params: z.strictObject({ name: z.string() }) },
      handle: () => ({ status: 200, body: { wide: true } }),
    };
    const app = await startApp({ routes: [wide, fixed] });
    expect((await ask(app, '/v1/things/fixed')).body).toEqual({ fixed: true });
    expect((await ask(app, '/v1/things/other')).body).toEqual({ wide: true });
  });

  test('answers HEAD as GET without the body', async () => {
    const app = await startApp({ routes: [fixed] });
    const { status, headers, text } = await ask(app, '/v1/things/fixed', { method: 'HEAD' });
    expect([status, headers.get('content-length'), text]).toEqual([200, '14', '']);
  });

  test('knows its caller, and refuses one that cannot be known', async () => {
    const app = await startApp({ routes: [named] });
    expect((await ask(app, '/v1/me', { headers: { authorization: 'Test ann' } })).body).toEqual({
      name: 'ann',
    });
    const refused = await ask(app, '/v1/me');
    expect(refused.status).toBe(401);
    expect(refused.headers.get('www-authenticate')).toBe('Test');
    expect(refused.body).toMatchObject({
      type: 'urn:beacon:problem:unauthenticated',
      code: 'unauthenticated',
    });
  });

  test('sends bytes and texts as they are, and 204 with nothing', async () => {
    const bytes = Buffer.from([0, 255, 10]);
    const app = await startApp({
      routes: [
        {
          ...fixed,
          path: '/bytes',
          handle: () => ({
            status: 200,
            body: bytes,
            headers: { 'content-type': 'application/octet-stream' },
          }),
        },
        { ...fixed, path: '/nothing', handle: () => ({ status: 204 }) },
      ],
    });
    const response = await fetch(`${app.url}/bytes`);
    expect(Buffer.from(await response.arrayBuffer())).toEqual(bytes);
    expect(response.headers.get('content-type')).toBe('application/octet-stream');
    expect((await ask(app, '/nothing')).status).toBe(204);
  });

  test('may refuse by a value, with what would have allowed it', async () => {
    const app = await startApp({
      routes: [
        {
          ...fixed,
          handle: () => ({
            refusal: {
              kind: 'denied',
              code: 'policy',
              detail: 'Not this host: ask the owner.',
              denial: { missing: ['team'] },
            },
          }),
        },
      ],
    });
    const { status, body, headers } = await ask(app, '/v1/things/fixed');
    expect(status).toBe(403);
    expect(headers.get('content-type')).toBe('application/problem+json');
    expect(body).toEqual({
      type: 'urn:beacon:problem:denied',
      title: 'Not allowed',
      status: 403,
      code: 'policy',
      detail: 'Not this host: ask the owner.',
      id: headers.get('x-request-id'),
      denial: { missing: ['team'] },
    });
  });
});

describe('refuses what it does not know', () => {
  const post = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = json) => ({
    method: 'POST',
    headers,
    body,
  });
  const cases: [
    title: string,
    path: string,
    init: RequestInit,
    status: number,
    code: string,
    detail?: string,
  ][] = [
    ['an unknown path', '/v1/nothing', {}, 404, 'path-unknown'],
    ['a path in other letters', '/V1/things/abc', {}, 404, 'path-unknown'],
    ['a path with a slash more', '/v1/things/abc/', {}, 404, 'path-unknown'],
    ['another method', '/v1/things/abc', { method: 'DELETE' }, 405, 'method-not-allowed'],
    ['OPTIONS', '/v1/things/abc', { method: 'OPTIONS' }, 405, 'method-not-allowed'],
    ['a path that its schema does not allow', '/v1/things/ABC', post('{"v":1}'), 400, 'path-malformed'],
    ['a path that cannot be decoded', '/v1/things/%ff', post('{"v":1}'), 400, 'path-malformed'],
    [
      'an unknown query key',
      '/v1/things/abc?limt=1',
      post('{"v":1}'),
      400,
      'query-malformed',
      'did you mean \\"limit\\"?',
    ],
    [
      'a doubled query key',
      '/v1/things/abc?limit=1&limit=2',
      post('{"v":1}'),
      400,
      'query-malformed',
      'twice',
    ],
    [
      'a query value that its schema does not allow',
      '/v1/things/abc?limit=x',
      post('{"v":1}'),
      400,
      'query-malformed',
    ],
    [
      'a body of another type',
      '/v1/things/abc',
      post('v=1', { 'content-type': 'application/x-www-form-urlencoded' }),
      400,
      'body-type',
    ],
    ['a body without a type', '/v1/things/abc', post(new Uint8Array([0x7b, 0x7d]), {}), 400, 'body-type'],
    [
      'a type that only begins like JSON',
      '/v1/things/abc',
      post('{}', { 'content-type': 'application/jsonp' }),
      400,
      'body-type',
    ],
    [
      'another character set',
      '/v1/things/abc',
      post('{}', { 'content-type': 'application/json; charset=utf-16' }),
      400,
      'body-type',
    ],
    [
      'a compressed body',
      '/v1/things/abc',
      post('{}', { ...json, 'content-encoding': 'gzip' }),
      400,
      'body-type',
    ],
    ['an empty body', '/v1/things/abc', { method: 'POST', headers: json }, 400, 'body-malformed'],
    ['what is not JSON', '/v1/things/abc', post('{"v":1'), 400, 'body-malformed'],
    ['what is not UTF-8', '/v1/things/abc', post(new Uint8Array([0x22, 0xff, 0x22])), 400, 'body-malformed'],
    ['a doubled key', '/v1/things/abc', post('{"v":1,"v":1}'), 400, 'body-malformed', 'twice'],
    [
      'an unknown key',
      '/v1/things/abc',
      post('{"v":1,"lists":[]}'),
      400,
      'body-malformed',
      'unknown key \\"lists\\" (did you mean \\"list\\"?)',
    ],
    [
      'an unknown key deep inside',
      '/v1/things/abc',
      post('{"v":1,"list":[{"id":"a"},{"id":"a","idd":"b"}]}'),
      400,
      'body-malformed',
      'at list[1].idd: unknown key',
    ],
    [
      'a body that is too long',
      '/v1/things/abc',
      post(`{"v":1,"x":"${'x'.repeat(70_000)}"}`),
      400,
      'body-too-long',
    ],
    ['a body where none belongs', '/v1/fixed', post('{}'), 400, 'body-unexpected'],
    ['a query where none belongs', '/v1/fixed?a=1', { method: 'POST' }, 400, 'query-malformed'],
  ];
  for (const [title, path, init, status, code, detail] of cases) {
    test(`${title}`, async () => {
      const app = await startApp({ routes: [echo, { ...fixed, path: '/v1/fixed', method: 'POST' }] });
      const answer = await ask(app, path, init);
      expect(answer).toMatchObject({
        status,
        body: { status, code, id: answer.headers.get('x-request-id') },
      });
      expect(answer.text).toContain(detail ?? '');
      expect(answer.headers.get('content-type')).toBe('application/problem+json');
      expect(answer.headers.get('cache-control')).toBe('no-store');
      if (status === 405) expect(answer.headers.get('allow')).toBe('POST');
    });
  }

  test('a body that is too long and does not say so beforehand', async () => {
    const app = await startApp({ routes: [echo] });
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const request = httpRequest(
        `${app.url}/v1/things/abc`,
        { method: 'POST', headers: json },
        (response) => {
          resolve(response.statusCode);
          response.resume();
        },
      );
      request.on('error', reject);
      request.write('x'.repeat(66_000));
    });
    expect(status).toBe(400);
  });

  test('a header that stands twice', async () => {
    const app = await startApp({ routes: [named] });
    const answer = await raw(
      app,
      'GET /v1/me HTTP/1.1\r\nHost: a\r\nAuthorization: Test ann\r\nAuthorization: Test bob\r\nConnection: close\r\n\r\n',
    );
    expect(answer).toContain('400 Bad Request');
    expect(answer).toContain('header-doubled');
  });

  test('a target that is not a path', async () => {
    const app = await startApp({ routes: [fixed] });
    for (const target of [
      'http://evil.example/v1/things/fixed',
      '*',
      '/v1/things/fixed#a',
      `/${'a'.repeat(9_000)}`,
    ]) {
      const method = target === '*' ? 'OPTIONS' : 'GET';
      const answer = await raw(app, `${method} ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1[.]1 40[04] /);
    }
  });
});

function raw(app: AppOnLoopback, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(app.listening.port, '127.0.0.1', () => socket.write(text));
    socket.setEncoding('utf8');
    socket.on('data', (part) => {
      answer += part;
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', reject);
  });
}

describe('A12: believes no header about the peer', () => {
  const forged = {
    'x-forwarded-for': '198.51.100.9',
    'x-forwarded-host': 'evil.example',
    'x-http-method-override': 'DELETE',
    'x-client-cert-dn': 'CN=admin',
    ...json,
  };

  test('from a stranger', async () => {
    const app = await startApp({ routes: [echo] });
    const { status, body } = await ask(app, '/v1/things/abc', {
      method: 'POST',
      headers: forged,
      body: '{"v":1}',
    });
    expect([status, body.ip, body.host]).toEqual([200, '127.0.0.1', 'ca.example.org']);
  });

  test('but the address that a configured proxy names', async () => {
    const app = await startApp({ routes: [echo], trustedProxies: ['127.0.0.1'] });
    const { body } = await ask(app, '/v1/things/abc', { method: 'POST', headers: forged, body: '{"v":1}' });
    expect([body.ip, body.host]).toEqual(['198.51.100.9', 'ca.example.org']);
  });

  test('in what is mounted either', async () => {
    const seen: unknown[] = [];
    const mounted = express();
    mounted.set('trust proxy', true);
    mounted.use((request, response) => {
      seen.push(
        request.ip,
        request.protocol,
        request.hostname,
        request.secure,
        request.get('x-client-cert-dn'),
      );
      response.end();
    });
    const app = await startApp({ mount: [{ path: '/mounted', handler: mounted }] });
    await fetch(`${app.url}/mounted/x`, { headers: forged });
    expect(seen).toEqual(['127.0.0.1', 'https', 'ca.example.org', true, undefined]);
  });
});

describe('every answer', () => {
  test('carries strict headers, also when refused', async () => {
    const app = await startApp({ routes: [fixed] });
    for (const path of ['/v1/things/fixed', '/nothing']) {
      const { headers } = await ask(app, path);
      expect(headers.get('content-security-policy')).toBe(
        "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'",
      );
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('strict-transport-security')).toBe('max-age=31536000');
      expect(headers.get('x-request-id')).toMatch(/^[0-9a-z]{26}$/);
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('x-powered-by')).toBeNull();
      expect(headers.get('etag')).toBeNull();
    }
  });

  test('has an id of ours, never one that the caller chose', async () => {
    const app = await startApp({ routes: [fixed] });
    const { headers } = await ask(app, '/v1/things/fixed', { headers: { 'x-request-id': 'chosen' } });
    expect(headers.get('x-request-id')).not.toBe('chosen');
  });
});

describe('a failure', () => {
  test('that nobody knows says nothing outside and everything in the log, under one id', async () => {
    const app = await startApp({
      routes: [failing('/fails', new Error('table persons has no column secret_thing'))],
    });
    const { status, text, body } = await ask(app, '/fails');
    expect(status).toBe(500);
    expect(text).not.toContain('secret_thing');
    expect(body.code).toBe('internal');
    const line = app
      .log()
      .split('\n')
      .find((entry) => entry.includes('secret_thing'));
    expect(JSON.parse(line ?? '{}')).toMatchObject({ level: 'error', id: body.id });
  });

  test('that the program knows is answered as the program says', async () => {
    class OwnError extends Error {}
    const app = await startApp({
      routes: [failing('/fails', new OwnError('inner text'))],
      toProblem: (error) =>
        error instanceof OwnError
          ? { kind: 'conflict', code: 'key-reused', detail: 'Make a new key.' }
          : undefined,
    });
    const { status, body } = await ask(app, '/fails');
    expect([status, body.code, body.detail]).toEqual([409, 'key-reused', 'Make a new key.']);
  });

  test('of the store is 503, with its cause in the log alone', async () => {
    const full = Object.assign(new Error('database or disk is full'), {
      name: 'SqliteError',
      code: 'SQLITE_FULL',
    });
    const app = await startApp({ routes: [failing('/fails', full)] });
    const { status, text, body } = await ask(app, '/fails');
    expect([status, body.code]).toEqual([503, 'storage']);
    expect(text).not.toContain('disk');
    expect(app.log()).toContain('SQLITE_FULL');
  });

  test('to answer at all within the time is 503, and the work is told to stop', async () => {
    let stopped = false;
    const slow = {
      ...fixed,
      handle: ({ signal }: { signal: AbortSignal }) =>
        new Promise<never>(() => {
          signal.addEventListener('abort', () => {
            stopped = true;
          });
        }),
    };
    const app = await startApp({ routes: [slow], timeoutMs: 50 });
    const { status, body } = await ask(app, '/v1/things/fixed');
    expect([status, body.code, stopped]).toEqual([503, 'took-too-long', true]);
  });

  test('of what is mounted is a problem too', async () => {
    const app = await startApp({
      mount: [
        {
          handler: () => {
            throw new Error('planted inside');
          },
        },
      ],
    });
    const { status, text } = await ask(app, '/anything');
    expect(status).toBe(500);
    expect(text).not.toContain('planted');
  });
});

describe('limits', () => {
  test('refuse an address with 429 and the time to wait', async () => {
    const app = await startApp({
      routes: [fixed],
      limits: createLimits({ perAddress: { requests: 2, perSeconds: 60 } }),
    });
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++) statuses.push((await ask(app, '/v1/things/fixed')).status);
    const { headers, body } = await ask(app, '/v1/things/fixed');
    expect(statuses).toEqual([200, 200, 429]);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    expect(body.code).toBe('too-many-requests');
  });

  test('refuse a caller apart from others at the same address', async () => {
    const app = await startApp({
      routes: [named],
      limits: createLimits({ perCaller: { requests: 1, perSeconds: 60 } }),
    });
    const as = async (name: string) =>
      (await ask(app, '/v1/me', { headers: { authorization: `Test ${name}` } })).status;
    expect([await as('ann'), await as('ann'), await as('bob')]).toEqual([200, 429, 200]);
  });
});

describe('the log', () => {
  test('T8, L7: shows no segment of a path that could be a secret, and never a long path', async () => {
    const app = await startApp({ routes: [echo] });
    const planted = [
      'gho_16C7e42F292c6912E7710c838347Ae178B4a',
      'BBBB-CDFG',
      '0123456789abcdef0123456789abcdef01234567',
      'x'.repeat(40),
      '%67ho_planted',
      'eyJhbGciOiJFZERTQSJ9.e30.c2ln',
    ];
    for (const secret of planted) await ask(app, `/v1/things/${secret}`);
    await ask(app, `/${'a/'.repeat(2_000)}`);
    await ask(app, '/v1/things/web-01.example/github:583231/01h455vb4pex5vsknk084sn02q');
    const lines = app
      .log()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    for (const secret of planted) expect(app.log()).not.toContain(secret);
    expect(lines[0]).toMatchObject({ route: '/v1/things/{name}', path: '/v1/things/*' });
    expect(lines.at(-2)).toMatchObject({ path: '/a/a/a/a/a/a/a/a/*' });
    expect(lines.at(-1)).toMatchObject({
      path: '/v1/things/web-01.example/github:583231/01h455vb4pex5vsknk084sn02q',
    });
  });

  test('has one line a request, without query, headers and body', async () => {
    const app = await startApp({ routes: [named, echo] });
    await ask(app, '/v1/me', {
      headers: { authorization: 'Test ann', cookie: 'planted=1', dpop: 'planted' },
    });
    await ask(app, '/callback?code=planted&state=planted');
    await ask(app, '/v1/things/abc', { method: 'POST', headers: json, body: '{"v":1,"planted":"planted"}' });
    const lines = app
      .log()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toHaveLength(3);
    expect(app.log().match(/"method":/g)).toHaveLength(3);
    expect(lines[0]).toMatchObject({
      level: 'info',
      method: 'GET',
      route: '/v1/me',
      path: '/v1/me',
      status: 200,
      caller: 'ann',
      ip: '127.0.0.1',
    });
    expect(lines[1]).toMatchObject({ path: '/callback', status: 404, code: 'path-unknown' });
    expect(lines[2]).toMatchObject({ status: 400, code: 'body-malformed' });
    expect(app.log()).not.toContain('planted');
  });
});

test('figures are kept by route, never by the path that was asked for', async () => {
  const metrics = createMetrics({ processFigures: false });
  const app = await startApp({ routes: [echo, metricsRoute(metrics, 'public')], metrics });
  await ask(app, '/v1/things/abc', { method: 'POST', headers: json, body: '{"v":1}' });
  await ask(app, '/planted');
  await fetch(`${app.url}/x`, { method: 'PROPFIND' });
  const text = await (await fetch(`${app.url}/metrics`)).text();
  expect(text).toContain(
    'http_request_duration_seconds_count{method="POST",route="/v1/things/{name}",status="200"} 1',
  );
  expect(text).toContain('http_request_duration_seconds_count{method="GET",route="none",status="404"} 1');
  expect(text).toContain('http_request_duration_seconds_count{method="other",route="none",status="404"} 1');
  expect(text).not.toContain('planted');
});

describe('createApp refuses definitions that make no sense', () => {
  const options = {
    authenticate: async () => ({ name: '' }),
    toProblem: () => undefined,
    log: createLog({ name: 'test', level: 'silent' }),
    publicUrl: 'https://ca.example.org',
    routes: [fixed],
  };
  afterEach(() => expect(createApp(options)).toBeInstanceOf(Function));

  test('a route twice, or parameters without their schema', async () => {
    expect(await codeOf(() => createApp({ ...options, routes: [fixed, fixed] }))).toBe('definition');
    expect(await codeOf(() => createApp({ ...options, routes: [{ ...fixed, path: '/{name}' }] }))).toBe(
      'definition',
    );
    expect(await codeOf(() => createApp({ ...options, routes: [{ ...echo, path: '/a' }] }))).toBe(
      'definition',
    );
  });

  test('a public URL with a path, a query or another scheme', async () => {
    for (const publicUrl of [
      '',
      'ca.example.org',
      'https://ca.example.org/ca',
      'https://ca.example.org/?a',
      'ftp://a',
      'https://a@b',
    ]) {
      expect(await codeOf(() => createApp({ ...options, publicUrl }))).toBe('configuration');
    }
  });
});
