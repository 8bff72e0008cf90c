import { spawn } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ServerError, untilReady } from '../src/index.ts';

let server: Server;
let port: number;
let statuses: number[];
let asked: string[];

beforeAll(async () => {
  server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.writeHead(statuses.length > 1 ? (statuses.shift() ?? 500) : (statuses[0] ?? 500)).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
});
afterAll(() => {
  server.close();
});

const started = { name: 'the CA of /etc/ca.yaml', listen: () => ({ host: '0.0.0.0', port }) };
const unreadable = {
  name: 'the CA of /nonexistent',
  listen: () => {
    throw new ServerError('configuration', 'there is no such file');
  },
};

describe('ready', () => {
  test('ends when the server of the configuration says that it is ready, and waits until then', async () => {
    [statuses, asked] = [[503, 503, 200], []];
    await untilReady(started, { withinMs: 30_000 });
    expect(asked).toEqual(['GET /readyz', 'GET /readyz', 'GET /readyz']);
  });

  test('asks once and says what the answer was when it may not wait', async () => {
    [statuses, asked] = [[503], []];
    await expect(untilReady(started, { withinMs: 0 })).rejects.toMatchObject({
      code: 'not-ready',
      message: 'the CA of /etc/ca.yaml is not ready: it answers 503: its log says more',
    });
    expect(asked).toHaveLength(1);
  });

  test('given its process, waits while that lives, and no longer', async () => {
    [statuses, asked] = [[503], []];
    const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 600_000)']);
    const ended = new Promise((resolve) => child.once('close', resolve));
    const waiting = untilReady(started, { withinMs: 600_000, pid: child.pid ?? 0 });
    while (asked.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    child.kill();
    await expect(waiting).rejects.toMatchObject({
      code: 'not-ready',
      message: expect.stringContaining('ended'),
    });
    await ended;
  });

  test('leaves it to that process to say what is wrong with the configuration', async () => {
    await expect(untilReady(unreadable, { withinMs: 0 })).rejects.toMatchObject({ code: 'configuration' });
    await expect(untilReady(unreadable, { withinMs: 0, pid: process.pid })).rejects.toMatchObject({
      code: 'not-ready',
    });
  });

  test('says that nobody listens there', async () => {
    const silent = { ...started, listen: () => ({ host: '127.0.0.1', port: 1 }) };
    await expect(untilReady(silent, { withinMs: 0 })).rejects.toMatchObject({ code: 'not-ready' });
  });
});
