/**
 * A lane from inside of a lab host to a port of this machine's loopback: the host finds it on its own loopback, under the
 * same number. So a host reaches a CA that serves this machine alone, whose address is therefore not encrypted. A child in
 * the host's network namespace listens; a socket in the file system, which is no part of that namespace, leads back here.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Lab } from './lab.ts';
import { namespacePath } from './network.ts';

export interface Lane {
  /** Ends the lane, and what goes along it. */
  readonly close: () => Promise<void>;
}

/** Opens a lane from `host` to `port`. Resolves when it can be used. */
export async function openLane(lab: Lab, host: string, port: number): Promise<Lane> {
  const folder = mkdtempSync(join(tmpdir(), 'beacon-lane-'));
  const path = join(folder, 'socket');
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    }
    lead(near, far);
  });
  server.listen(path);
  await once(server, 'listening');
  const words = [`--net=${namespacePath(lab.folder, host)}`, process.execPath, import.meta.filename];
  const child = spawn('nsenter', [...words, String(port), path], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.on('error', () => undefined);
  const ended = once(child, 'exit');
  const began = await Promise.race([once(child.stdout, 'data'), ended.then(() => undefined)]);
  if (began === undefined) throw new Error(`no lane from ${host} to port ${port}`);
  return {
    close: async () => {
      child.stdin.end();
      await ended;
      for (const socket of sockets) socket.destroy();
      server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function lead(a: Socket, b: Socket): void {
  a.pipe(b);
  b.pipe(a);
  for (const [one, other] of [
    [a, b],
    [b, a],
  ] as const) {
    one.on('error', () => other.destroy()).on('close', () => other.destroy());
  }
}

const [, script, port, path] = process.argv;
if (script !== undefined && path !== undefined && realpathSync(script) === import.meta.filename) {
  const server = createServer((near) => lead(near, connect(path)));
  server.listen(Number(port), '127.0.0.1', () => process.stdout.write('open\n'));
  // Whoever asked for the lane holds the other end, and goes with it.
  process.stdin.on('end', () => process.exit()).resume();
}
