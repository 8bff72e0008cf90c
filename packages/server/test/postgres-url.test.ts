import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { openDatabase } from '../src/index.ts';
import { parsePostgresUrl } from '../src/postgres-url.ts';
import { codeOf, temporaryFolder } from './temporary.ts';

describe('the URL of a PostgreSQL store', () => {
  test('is taken apart, escapes undone', () => {
    expect(parsePostgresUrl('postgresql://beacon:p%40ss%2Fword@127.0.0.1:5433/ca')).toEqual({
      host: '127.0.0.1',
      port: 5433,
      user: 'beacon',
      password: 'p@ss/word',
      database: 'ca',
      ssl: false,
    });
    expect(parsePostgresUrl('postgres://beacon@[::1]/ca')).toMatchObject({ host: '::1', port: 5432 });
  });

  test('may name the folder of a Unix socket', () => {
    expect(parsePostgresUrl('postgresql://beacon@/ca?host=/run/postgresql')).toMatchObject({
      host: '/run/postgresql',
      user: 'beacon',
      ssl: false,
    });
  });

  test('beyond this machine asks for a verified TLS connection', () => {
    const file = join(temporaryFolder(), 'root.pem');
    writeFileSync(file, 'the root');
    expect(
      parsePostgresUrl(`postgresql://b:p@db.example:5432/ca?sslmode=verify-full&sslrootcert=${file}`).ssl,
    ).toEqual({ rejectUnauthorized: true, minVersion: 'TLSv1.2', servername: 'db.example', ca: 'the root' });
  });

  test.each([
    ['postgresql://b:hunter2@db.example/ca', /needs sslmode=verify-full/],
    ['postgresql://b:hunter2@db.example/ca?sslmode=disable', /needs sslmode=verify-full/],
    ['postgresql://b:hunter2@db.example/ca?sslmode=require', /sslmode is verify-full/],
    ['postgresql://b:hunter2@db.example/ca?sslmode=no-verify', /sslmode is verify-full/],
    ['postgresql://b:hunter2@db.example/ca?sslmode=verify-full&sslmode=disable', /twice/],
    ['postgresql://b:hunter2@db.example/ca?sslmode=verify-full&sslcert=/x', /go together/],
    ['postgresql://b:hunter2@db.example/ca?sslmode=verify-full&sslrootcert=/none/there', /cannot be read/],
    ['postgresql://b:hunter2@127.0.0.1/ca?options=-c%20fsync', /parameters/],
    ['postgresql://b:hunter2@127.0.0.1/ca?host=/run', /two hosts/],
    ['postgresql://b:hunter2@/ca?host=relative', /folder of a Unix socket/],
    ['postgresql://b:hunter2@127.0.0.1/', /one database/],
    ['postgresql://b:hunter2@127.0.0.1/a/b', /one database/],
    ['postgresql://127.0.0.1/ca', /nobody/],
    ['postgresql://b:hunter%2@127.0.0.1/ca', /%25/],
    ['postgresql://b:hunter2@127.0.0.1/ca#x', /must be/],
    ['mysql://b:hunter2@127.0.0.1/ca', /must be/],
    ['postgresql://b:hunter2 @127.0.0.1/ca', /must be/],
    ['hunter2', /must be/],
    ['', /must be/],
  ])('refuses %s and tells no password', async (text, why) => {
    expect(await codeOf(() => openDatabase({ url: text }))).toBe('configuration');
    expect(() => parsePostgresUrl(text)).toThrow(why);
    expect(() => parsePostgresUrl(text)).not.toThrow(/hunter/);
  });
});
