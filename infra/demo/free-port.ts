/**
 * A port, of loopback unless said otherwise, that nobody listens on, for a server that must know its address before it
 * starts, or keep it while it is down. It is below those that Linux gives out by itself (32768 and up unless changed), so
 * that no connection and no other server gets it in between; nor does another worker of the tests, which has ports of its own.
 */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

const FIRST = 10_000;
const END = 32_768;
const WORKERS = 64;
const given = new Set<number>();

export async function freePort(address = '127.0.0.1'): Promise<number> {
  const worker = Number(process.env['JEST_WORKER_ID'] ?? 0) % WORKERS;
  for (let tries = 0; tries < 1_000; tries++) {
    const port = FIRST + WORKERS * randomInt(Math.floor((END - FIRST) / WORKERS)) + worker;
    if (given.has(port) || !(await isFree(port, address))) continue;
    given.add(port);
    return port;
  }
  throw new Error(`no port of ${address} is free`);
}

function isFree(port: number, address: string): Promise<boolean> {
  const probe = createServer();
  return new Promise((resolve, reject) => {
    probe.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(false) : reject(error),
    );
    probe.listen(port, address, () => probe.close(() => resolve(true)));
  });
}
