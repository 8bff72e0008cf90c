import { Writable } from 'node:stream';
import { expect, test } from '@jest/globals';
import { createLog, healthRoutes } from '../src/index.ts';
import { startApp } from './app-on-loopback.ts';

test('healthz answers, readyz tells which check fails and the log tells why', async () => {
  let text = '';
  const destination = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  let broken = false;
  const routes = healthRoutes(
    {
      store: async () => undefined,
      policy: async () => {
        if (broken) throw new Error('line 3 does not parse');
      },
    },
    createLog({ name: 'test', level: 'info', destination }),
  );
  const app = await startApp({ routes });
  expect((await fetch(`${app.url}/healthz`)).status).toBe(200);
  expect((await fetch(`${app.url}/readyz`)).status).toBe(200);
  broken = true;
  const response = await fetch(`${app.url}/readyz`);
  expect(response.status).toBe(503);
  expect(await response.json()).toEqual({ status: 'failing', checks: { store: 'ok', policy: 'failing' } });
  expect((await fetch(`${app.url}/healthz`)).status).toBe(200);
  expect(text).toContain('line 3 does not parse');
});
