import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { discoverCa, parseServerUrl } from '../src/index.ts';
import { type SmallCa, startSmallCa } from './small-ca.ts';

describe('the address of a server', () => {
  it.each([
    ['https://ca.example', 'https://ca.example'],
    ['https://ca.example/', 'https://ca.example'],
    ['https://ca.example:8443/beacon/', 'https://ca.example:8443/beacon'],
    ['http://127.0.0.1:8080', 'http://127.0.0.1:8080'],
    ['http://localhost', 'http://localhost'],
    ['http://[::1]:1', 'http://[::1]:1'],
  ])('takes %s', (text, url) => {
    expect(parseServerUrl(text)).toBe(url);
  });

  it.each([
    ['http://ca.example', 'url-insecure'],
    ['http://127.0.0.1.example', 'url-insecure'],
    ['http://localhost.example', 'url-insecure'],
    ['ftp://ca.example', 'url-malformed'],
    ['ca.example', 'url-malformed'],
    ['https://person:word@ca.example', 'url-malformed'],
    ['https://ca.example/?x', 'url-malformed'],
    ['https://ca.example/#', 'url-malformed'],
    ['', 'url-malformed'],
  ])('refuses %s', (text, code) => {
    expect(() => parseServerUrl(text)).toThrow(expect.objectContaining({ code, kind: 'invalid' }));
  });
});

describe('discovery', () => {
  let ca: SmallCa;
  const tamperWith = (change: object) => {
    ca.knobs.tamper = (path, body) => (path.startsWith('/.well-known') ? { ...body, ...change } : body);
  };

  beforeAll(async () => {
    ca = await startSmallCa();
  });
  beforeEach(() => {
    ca.knobs.tamper = (_path, body) => body;
    ca.knobs.intercept = () => false;
  });
  afterAll(() => ca.close());

  it('reads the endpoints and the audiences', async () => {
    expect(await discoverCa(ca.url)).toMatchObject({
      issuer: ca.url,
      tokenEndpoint: `${ca.url}/oauth/token`,
      protectedResources: ['urn:beacon:ca', 'urn:beacon:broker:portal'],
    });
  });

  it.each([
    ['another issuer', { issuer: 'https://evil.example' }, 'answer-untrusted'],
    ['an endpoint on another server', { token_endpoint: 'https://evil.example/token' }, 'answer-untrusted'],
    ['no endpoint', { token_endpoint: undefined }, 'answer-malformed'],
    ['an endpoint that is no text', { token_endpoint: 1 }, 'answer-malformed'],
  ])('I12: refuses %s', async (_name, change, code) => {
    tamperWith(change);
    await expect(discoverCa(ca.url)).rejects.toMatchObject({ code });
  });

  it.each([
    ['no JSON', '<html>'],
    ['doubled keys', '{"issuer":"a","issuer":"b"}'],
    ['a list', '[]'],
    ['nothing', ''],
  ])('I12: refuses %s', async (_name, text) => {
    ca.knobs.intercept = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(text);
      return true;
    };
    await expect(discoverCa(ca.url)).rejects.toMatchObject({ code: 'answer-malformed' });
  });

  it('I12: does not follow a redirect', async () => {
    ca.knobs.intercept = (request, response) => {
      if (request.url === '/elsewhere') return false;
      response.writeHead(302, { location: `${ca.url}/elsewhere` }).end();
      return true;
    };
    await expect(discoverCa(ca.url)).rejects.toMatchObject({ code: 'answer-untrusted' });
    expect(ca.requests).not.toContain('GET /elsewhere');
  });

  it('I12: stops reading an answer that does not end', async () => {
    ca.knobs.intercept = (_request, response) => {
      response.writeHead(200);
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(65_536)));
        if (!response.destroyed) response.once('drain', more);
      };
      more();
      return true;
    };
    await expect(discoverCa(ca.url)).rejects.toMatchObject({ code: 'answer-too-long' });
  });

  it('does not wait for ever', async () => {
    ca.knobs.intercept = () => true;
    const outside = { fetch: globalThis.fetch, now: () => new Date(), timeoutMs: 100 };
    await expect(discoverCa(ca.url, outside)).rejects.toMatchObject({
      code: 'timed-out',
      kind: 'unavailable',
    });
  });

  it('says why nobody answers', async () => {
    const gone = await startSmallCa();
    await gone.close();
    await expect(discoverCa(gone.url)).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });
});
