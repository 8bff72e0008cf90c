import { Writable } from 'node:stream';
import { expect, test } from '@jest/globals';
import { createLog } from '../src/index.ts';

function capture() {
  let text = '';
  const destination = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  return { log: createLog({ name: 'test', level: 'debug', destination }), text: () => text };
}

const secrets = {
  token: 'gho_0123456789abcdefghij',
  pat: 'github_pat_0123456789abcdefghij_0123',
  jwt: 'eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl',
  key: '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----',
  header: 'DPoP c2VjcmV0LXRva2VuLXZhbHVl',
};

test('L7: no secret stands in a log, whatever the field it comes in', () => {
  const { log, text } = capture();
  for (const [name, value] of Object.entries(secrets)) {
    log.info(value);
    log.info({ note: value }, `seen ${value} here`);
    log.info({ deep: { list: [{ note: value }] }, map: new Map([['a', value]]), set: new Set([value]) });
    log.error({ err: new Error(`failed with ${value}`, { cause: new Error(value) }) }, 'failed');
    log.error(new Error(`failed with ${value}`));
    log.info({ bytes: Buffer.from(value), array: new TextEncoder().encode(value) });
    log.info('%s and %j', value, { note: value });
    log.child({ [`bound_${name}`]: value }).warn('child');
  }
  for (const value of [
    ...Object.values(secrets),
    'b3BlbnNzaA',
    'c2VjcmV0',
    Buffer.from(secrets.token).join(),
  ]) {
    expect({ value, found: text().includes(value) }).toEqual({ value, found: false });
  }
});

test('L7: values under the names of secrets never stand in a log', () => {
  const { log, text } = capture();
  for (const key of [
    'authorization',
    'dpop',
    'cookie',
    'set-cookie',
    'passphrase',
    'client_secret',
    'refresh_token',
    'client_assertion',
    'state',
    'salt',
    'params',
    'rawBody',
    'body',
    'privateKey',
    'private_key',
    'user_code',
    'sessionId',
  ]) {
    log.info({ [key]: 'planted', request: { headers: { [key.toUpperCase()]: ['planted'] } } });
  }
  expect(text().includes('planted')).toBe(false);
});

test('removes queries, which may hold an OAuth code', () => {
  const { log, text } = capture();
  log.info({
    url: '/callback?code=planted&state=planted',
    err: new Error('GET https://a.example/x?code=planted failed'),
  });
  expect(text().includes('planted')).toBe(false);
  expect(text()).toContain('/callback');
});

test('keeps what an operator needs: code, message, stack, cause and ids', () => {
  const { log, text } = capture();
  const cause = Object.assign(new Error('disk is full'), { code: 'SQLITE_FULL' });
  log.warn({ err: new Error('the store failed', { cause }), id: '01ab', count: 3n }, 'could not write');
  const line = JSON.parse(text());
  expect(line).toMatchObject({
    level: 'warn',
    name: 'test',
    id: '01ab',
    count: '3',
    msg: 'could not write',
    err: { message: 'the store failed', cause: { code: 'SQLITE_FULL', message: 'disk is full' } },
  });
  expect(line.err.stack).toContain('log.test.ts');
  expect(line.time).toMatch(/^\d{4}-\d\d-\d\dT/);
});
