/** A store across a network: PostgreSQL with a certificate of a private authority, and those who pose as it. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { freePort } from '../../../infra/demo/free-port.ts';
import { openDatabase } from '../src/index.ts';
import { type Cluster, startCluster } from './postgres-cluster.ts';
import { codeOf, temporaryFolder } from './temporary.ts';

const PASSWORD = 'planted-password-0123';
let cluster: Cluster;
let database: string;
let port: number;
const folder = temporaryFolder();
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  for (const name of ['root', 'other']) openssl('req', ...selfSigned(name), '-subj', `/CN=${name}`);
  openssl('req', ...fresh('server'), '-out', at('server.csr'), '-subj', '/CN=server');
  writeFileSync(at('names'), 'subjectAltName=DNS:localhost\n');
  openssl(
    ...['x509', '-req', '-in', at('server.csr'), '-CA', at('root.pem'), '-CAkey', at('root.key')],
    ...['-CAcreateserial', '-days', '2', '-extfile', at('names'), '-out', at('server.pem')],
  );
  port = await freePort();
  const [certificate, key] = [readFileSync(at('server.pem'), 'utf8'), readFileSync(at('server.key'), 'utf8')];
  cluster = await startCluster({ tls: { port, certificate, key } });
  const url = await cluster.createDatabase();
  await cluster.query(url, `alter role beacon password '${PASSWORD}'`);
  database = new URL(url.replace('@/', '@socket.invalid/')).pathname;
});
afterAll(() => cluster.stop());

function openssl(...argv: string[]): void {
  execFileSync('openssl', argv, { stdio: 'ignore' });
}

function fresh(name: string): string[] {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at(`${name}.key`)];
}

function selfSigned(name: string): string[] {
  return ['-x509', ...fresh(name), '-days', '2', '-out', at(`${name}.pem`)];
}

function urlTo(host: string, parameters: string, to = port): string {
  return `postgresql://beacon:${PASSWORD}@${host}:${to}${database}?${parameters}`;
}

/** Opens the store there and asks whether the connection is encrypted. */
async function ask(url: string): Promise<unknown> {
  const store = openDatabase({ url });
  try {
    const { rows } = await sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`.execute(store);
    return rows[0];
  } finally {
    await store.destroy();
  }
}

test('is reached over TLS that its own authority verifies', async () => {
  expect(await ask(urlTo('localhost', `sslmode=verify-full&sslrootcert=${at('root.pem')}`))).toEqual({
    ssl: true,
  });
});

test.each([
  ['of another authority', 'localhost', () => `sslmode=verify-full&sslrootcert=${at('other.pem')}`],
  ['of no public authority', 'localhost', () => 'sslmode=verify-full'],
  ['for another name', '127.0.0.1', () => `sslmode=verify-full&sslrootcert=${at('root.pem')}`],
])('is not used when its certificate is %s', async (_what, host, parameters) => {
  const url = urlTo(host, parameters());
  expect(await codeOf(() => ask(url))).toBe('storage');
  await expect(ask(url)).rejects.not.toThrow(PASSWORD);
});

test.each(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'no-verify', ''])(
  'is not asked with sslmode=%j beyond this machine',
  async (mode) => {
    const parameters = mode === '' ? '' : `sslmode=${mode}`;
    expect(await codeOf(() => openDatabase({ url: urlTo('db.example', parameters) }))).toBe('configuration');
  },
);

test('is told nothing, the name and the password least, when it has no TLS', async () => {
  const received: Buffer[] = [];
  const open = new Set<Socket>();
  const plain = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (bytes: Buffer) => {
      received.push(bytes);
      socket.write('N');
    });
  });
  await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
  const { port: there } = plain.address() as AddressInfo;
  try {
    const url = urlTo('localhost', `sslmode=verify-full&sslrootcert=${at('root.pem')}`, there);
    expect(await codeOf(() => ask(url))).toBe('storage');
    // SSLRequest alone (PostgreSQL, "Message Formats").
    for (const bytes of received) expect(bytes.toString('hex')).toBe('0000000804d2162f');
  } finally {
    for (const socket of open) socket.destroy();
    await new Promise<void>((resolve) => plain.close(() => resolve()));
  }
});
