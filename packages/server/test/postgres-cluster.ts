/**
 * A PostgreSQL of one's own: a cluster in a temporary folder, reached through a Unix socket there. Run by root, it runs as
 * the person `postgres`.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';

export interface Cluster {
  /** The URL of a new, empty database. */
  createDatabase(): Promise<string>;
  /** Runs statements as an operator would, beside the program; answers the rows. */
  query(url: string, sql: string): Promise<Record<string, unknown>[]>;
  /** Writes a database to a file, as an operator backs it up: `pg_dump`. */
  dump(url: string, file: string): void;
  /** Puts a file of `pg_dump` in place of what the database holds: `pg_restore --clean`. */
  putBack(url: string, file: string): void;
  /** Ends the server at once, as a crash does. */
  crash(): Promise<void>;
  /** Starts it again. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

const NAME = 'beacon';

export interface ClusterOptions {
  /** What was committed survives a crash of the machine; else nothing waits for the disk. */
  readonly durable?: boolean;
  /** Listens on 127.0.0.1 too, for TLS alone, with this certificate and key in PEM. */
  readonly tls?: { readonly port: number; readonly certificate: string; readonly key: string };
}

export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), 'beacon-pg-'));
  const data = join(folder, 'data');
  const bin = binaries();
  if (process.getuid?.() === 0) {
    const [uid, gid] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, 'postgres'])));
    if (uid === undefined || gid === undefined) throw new Error('there is nobody called postgres');
    chownSync(folder, uid, gid);
  }
  const [initdb, ...initArguments] = asOwner(join(bin, 'initdb'), [
    ...['-D', data, '-U', NAME, '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync'],
  ]);
  execFileSync(initdb, initArguments, { stdio: 'ignore', cwd: '/' });
  const overTls = options.tls === undefined ? [] : prepareTls(folder, data, options.tls);
  const port = options.tls?.port ?? 5432;
  let child: ChildProcess | undefined;
  let made = 0;

  async function start(): Promise<void> {
    const [postgres, ...postgresArguments] = asOwner(join(bin, 'postgres'), [
      ...['-D', data, '-k', folder, '-c', 'listen_addresses=', ...overTls],
      ...['-c', 'max_connections=60', '-c', 'shared_buffers=16MB'],
      ...['-c', `fsync=${options.durable === true ? 'on' : 'off'}`],
    ]);
    const started = spawn(postgres, postgresArguments, { stdio: ['ignore', 'ignore', 'pipe'], cwd: '/' });
    child = started;
    await new Promise<void>((resolve, reject) => {
      let said = '';
      started.stderr?.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-4_000);
        if (said.includes('ready to accept connections')) resolve();
      });
      started.on('error', reject);
      started.on('exit', () => reject(new Error(`PostgreSQL ended: ${said}`)));
    });
  }

  async function end(signal: 'SIGINT' | 'SIGQUIT'): Promise<void> {
    const ending = child;
    child = undefined;
    if (ending === undefined) return;
    const ended = new Promise((resolve) => ending.once('exit', resolve));
    ending.kill(signal);
    await ended;
  }

  const urlOf = (database: string) => `postgresql://${NAME}@/${database}?host=${folder}`;

  async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ host: folder, port, user: NAME, database: databaseOf(url) });
    await client.connect();
    try {
      const { rows } = await client.query(sql);
      return rows as Record<string, unknown>[];
    } finally {
      await client.end();
    }
  }

  const tool = (name: string, url: string, ...argv: string[]) =>
    execFileSync(join(bin, name), [
      '-h',
      folder,
      '-p',
      String(port),
      '-U',
      NAME,
      '-d',
      databaseOf(url),
      ...argv,
    ]);

  process.once('exit', () => child?.kill('SIGQUIT'));
  await start();
  return {
    query,
    dump: (url, file) => void tool('pg_dump', url, '--format=custom', `--file=${file}`),
    putBack: (url, file) => void tool('pg_restore', url, '--clean', '--if-exists', '--exit-on-error', file),
    start,
    crash: () => end('SIGQUIT'),
    async createDatabase() {
      made += 1;
      const name = `store_${made}`;
      await query(urlOf('postgres'), `create database ${name}`);
      return urlOf(name);
    },
    async stop() {
      await end('SIGINT');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Its files belong to whoever runs the server, and nobody comes in over the network without TLS. */
function prepareTls(folder: string, data: string, tls: NonNullable<ClusterOptions['tls']>): string[] {
  const { uid, gid } = statSync(folder);
  const write = (name: string, text: string) => {
    const file = join(folder, name);
    writeFileSync(file, text, { mode: 0o600 });
    chownSync(file, uid, gid);
    return file;
  };
  const [certificate, key] = [write('server.pem', tls.certificate), write('server.key', tls.key)];
  const entry = 'local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n';
  writeFileSync(join(data, 'pg_hba.conf'), entry);
  return [
    ...['-c', 'listen_addresses=127.0.0.1', '-c', `port=${tls.port}`, '-c', 'ssl=on'],
    ...['-c', `ssl_cert_file=${certificate}`, '-c', `ssl_key_file=${key}`],
  ];
}

/** The newest version's programs; Debian keeps them off the PATH. */
function binaries(): string {
  const root = '/usr/lib/postgresql';
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  const folder = versions
    .map((version) => join(root, version, 'bin'))
    .find((bin) => existsSync(join(bin, 'initdb')));
  if (folder === undefined) throw new Error('PostgreSQL is not installed: run ./scripts/setup');
  return folder;
}

/** PostgreSQL refuses to be run by root. */
function asOwner(file: string, argv: readonly string[]): [string, ...string[]] {
  if (userInfo().uid !== 0) return [file, ...argv];
  return ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups', '--', file, ...argv];
}

function databaseOf(url: string): string {
  return new URL(url.replace('@/', '@socket.invalid/')).pathname.slice(1);
}
