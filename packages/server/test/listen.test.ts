import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Agent, get, type RequestListener } from 'node:http';
import { get as getTls } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { listen } from '../src/index.ts';
import { codeOf, temporaryFolder } from './temporary.ts';

const answer: RequestListener = (_request, response) => response.end('here');

describe('listen', () => {
  test('refuses an address beyond loopback without TLS or a named proxy', async () => {
    for (const host of ['0.0.0.0', '::', '192.0.2.1', 'ca.example.org']) {
      expect(await codeOf(() => listen(answer, { host, port: 0 }))).toBe('listen');
    }
    const proxied = await listen(answer, { host: '0.0.0.0', port: 0, trustedProxies: ['10.0.0.1'] });
    await proxied.close();
  });

  test('cuts what one address opens beyond its bound, takes more when some has ended, and counts no proxy', async () => {
    const bounds = { host: '127.0.0.1', port: 0, maxConnectionsPerAddress: 3 };
    const bounded = await listen(answer, bounds);
    const proxied = await listen(answer, { ...bounds, trustedProxies: ['127.0.0.1'] });
    const open = (port: number) => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      // One that is served stays open.
      socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
      const cut = new Promise<boolean>((resolve) => {
        socket.once('close', () => resolve(true));
        socket.once('data', () => resolve(false));
      });
      return { socket, cut };
    };
    const four = [0, 1, 2, 3].map(() => open(bounded.port));
    expect(await Promise.all(four.map(({ cut }) => cut))).toEqual([false, false, false, true]);
    four[0]?.socket.destroy();
    let again = open(bounded.port);
    while (await again.cut) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      again = open(bounded.port);
    }
    expect(await again.cut).toBe(false);
    const behind = [0, 1, 2, 3].map(() => open(proxied.port));
    expect(await Promise.all(behind.map(({ cut }) => cut))).toEqual([false, false, false, false]);
    for (const { socket } of [...four, again, ...behind]) socket.destroy();
    await bounded.close(100);
    await proxied.close(100);
  });

  test('says when another program listens there', async () => {
    const first = await listen(answer, { host: '127.0.0.1', port: 0 });
    await expect(listen(answer, { host: '127.0.0.1', port: first.port })).rejects.toMatchObject({
      code: 'listen',
      message: expect.stringContaining('another program listens there'),
    });
    await first.close();
  });

  test('speaks TLS with the given certificate', async () => {
    const folder = temporaryFolder();
    const key = join(folder, 'key.pem');
    const certificate = join(folder, 'certificate.pem');
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-subj',
        '/CN=localhost',
        '-addext',
        'subjectAltName=DNS:localhost',
        '-days',
        '1',
        '-keyout',
        key,
        '-out',
        certificate,
      ],
      { stdio: 'ignore' },
    );
    const tls = { certificate: readFileSync(certificate), key: readFileSync(key) };
    const listening = await listen(answer, { host: '127.0.0.1', port: 0, tls });
    const status = await new Promise<number | undefined>((resolve, reject) => {
      getTls(
        {
          host: '127.0.0.1',
          port: listening.port,
          servername: 'localhost',
          ca: tls.certificate,
          agent: false,
        },
        (response) => {
          response.resume();
          resolve(response.statusCode);
        },
      ).on('error', reject);
    });
    expect(listening.url).toBe(`https://127.0.0.1:${listening.port}`);
    expect(status).toBe(200);
    await listening.close();
  });

  test('cuts a connection whose headers do not come', async () => {
    const listening = await listen(answer, {
      host: '127.0.0.1',
      port: 0,
      headersTimeoutMs: 500,
      requestTimeoutMs: 600,
    });
    const text = await new Promise<string>((resolve) => {
      let seen = '';
      const socket = connect(listening.port, '127.0.0.1', () =>
        socket.write('GET / HTTP/1.1\r\nHost: a\r\n'),
      );
      socket.on('data', (part) => {
        seen += String(part);
      });
      socket.on('close', () => resolve(seen));
    });
    expect(text).toContain('408');
    await listening.close();
  });

  test('refuses headers that are too long, and more connections than it may have', async () => {
    const any = await listen(answer, { host: '127.0.0.1', port: 0 });
    const long = await fetch(any.url, { headers: { 'x-long': 'x'.repeat(20_000), connection: 'close' } });
    expect(long.status).toBe(431);
    await any.close();
    const listening = await listen(answer, { host: '127.0.0.1', port: 0, maxConnections: 1 });
    const first = connect(listening.port, '127.0.0.1');
    await new Promise((resolve) => first.once('connect', resolve));
    const second = connect(listening.port, '127.0.0.1');
    await new Promise((resolve) => second.once('close', resolve));
    first.destroy();
    await listening.close();
  });
});

describe('close', () => {
  test('lets what has begun end, takes no more, and does not wait for idle connections', async () => {
    let begun = (): void => undefined;
    const hasBegun = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const listening = await listen(
      (_request, response) => {
        begun();
        setTimeout(() => response.end('finished'), 300);
      },
      { host: '127.0.0.1', port: 0 },
    );
    const agent = new Agent({ keepAlive: true });
    const answered = new Promise<string>((resolve, reject) => {
      get(listening.url, { agent }, (response) => {
        let text = '';
        response.on('data', (part) => {
          text += String(part);
        });
        response.on('end', () => resolve(text));
      }).on('error', reject);
    });
    await hasBegun;
    // Who waits for idle connections waits for the whole grace, which is longer than a test may take.
    const closed = listening.close(600_000);
    await expect(fetch(listening.url)).rejects.toThrow();
    expect(await answered).toBe('finished');
    await closed;
    agent.destroy();
  });

  test('cuts what does not end within the grace', async () => {
    const listening = await listen(() => undefined, { host: '127.0.0.1', port: 0 });
    const hanging = fetch(listening.url).catch(() => 'cut');
    await new Promise((resolve) => setTimeout(resolve, 50));
    await listening.close(100);
    expect(await hanging).toBe('cut');
  });
});
