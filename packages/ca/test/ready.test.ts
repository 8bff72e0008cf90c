import { spawn } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { untilReady } from '../src/ready.ts';
import { type MadeCa, makeCheapCa } from './made-ca.ts';

let made: MadeCa;
let server: Server;
let statuses: number[];
let asked: string[];

beforeAll(async () => {
  server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.writeHead(statuses.length > 1 ? (statuses.shift() ?? 500) : (statuses[0] ?? 500)).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  made = await makeCheapCa({ listenPort: (server.address() as AddressInfo).port });
});
afterEach(() => {
  statuses = [];
});
afterAll(() => {
  server.close();
  made.remove();
});

describe('ca ready', () => {
  test('ends when the CA of the configuration says that it is ready, and waits until then', async () => {
    [statuses, asked] = [[503, 503, 200], []];
    await untilReady(made.configuration, { withinMs: 30_000 });
    expect(asked).toEqual(['GET /readyz', 'GET /readyz', 'GET /readyz']);
  });

  test('asks once and says what the answer was when it may not wait', async () => {
    [statuses, asked] = [[503], []];
    await expect(untilReady(made.configuration, { withinMs: 0 })).rejects.toMatchObject({
      code: 'not-ready',
      kind: 'unavailable',
      message: expect.stringContaining('503'),
    });
    expect(asked).toHaveLength(1);
  });

  test('reads no secret', async () => {
    [statuses, asked] = [[200], []];
    made.edit('ca.yaml', 'keys/sealing', '$CREDENTIALS_DIRECTORY/sealing');
    await untilReady(made.configuration, { withinMs: 0 });
  });

  test('given its process, waits while that lives, and no longer', async () => {
    [statuses, asked] = [[503], []];
    const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 600)']);
    const ended = new Promise((resolve) => child.once('close', resolve));
    await expect(
      untilReady(made.configuration, { withinMs: 60_000, pid: child.pid ?? 0 }),
    ).rejects.toMatchObject({ code: 'not-ready', message: expect.stringContaining('ended') });
    await ended;
    expect(asked.length).toBeGreaterThan(1);
  });

  test('leaves it to that process to say what is wrong with the configuration', async () => {
    [statuses, asked] = [[200], []];
    await expect(untilReady('/nonexistent/ca.yaml', { withinMs: 0 })).rejects.toMatchObject({
      code: 'configuration',
    });
    await expect(untilReady('/nonexistent/ca.yaml', { withinMs: 0, pid: process.pid })).rejects.toMatchObject(
      { code: 'not-ready' },
    );
  });

  test('says that nobody listens there', async () => {
    [statuses, asked] = [[200], []];
    made.edit('ca.yaml', /port: \d+/, 'port: 1');
    await expect(untilReady(made.configuration, { withinMs: 0 })).rejects.toMatchObject({
      code: 'not-ready',
    });
    expect(asked).toEqual([]);
  });
});
