import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

const MODULE = join(import.meta.dirname, '..', 'src', 'system-authorities.ts');
const ASK = `
import { outsideOfMachine } from ${JSON.stringify(MODULE)};
const [url] = process.argv.slice(1);
try {
  console.log(await (await outsideOfMachine().fetch(url, { method: 'POST', body: 'a body' })).text());
} catch (error) {
  console.log(error.cause.code);
}
`;

describe("the certificate authorities of the machine's own store", () => {
  const folder = mkdtempSync(join(tmpdir(), 'beacon-authorities-'));
  const at = (name: string): string => join(folder, name);
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      bodies.push(body);
      response.end('welcome');
    });
  });

  beforeAll(async () => {
    const openssl = (...words: string[]) => execFileSync('openssl', words, { stdio: 'ignore', cwd: folder });
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
    openssl(
      'req',
      '-x509',
      ...key,
      '-subj',
      '/CN=authority',
      '-keyout',
      'authority.key',
      '-out',
      'authority.pem',
    );
    openssl(
      ...['req', '-x509', ...key, '-subj', '/CN=server', '-addext', 'subjectAltName=IP:127.0.0.1'],
      ...['-CA', 'authority.pem', '-CAkey', 'authority.key', '-keyout', 'server.key', '-out', 'server.pem'],
    );
    server.setSecureContext({ key: readFileSync(at('server.key')), cert: readFileSync(at('server.pem')) });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterAll(async () => {
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  });

  /** What a process whose machine has exactly this store is answered. */
  async function ask(store: string): Promise<string> {
    const { port } = server.address() as AddressInfo;
    const words = ['--input-type=module', '-e', ASK, `https://127.0.0.1:${port}/`];
    const env = { SSL_CERT_FILE: store, SSL_CERT_DIR: '/nonexistent' };
    const { stdout } = await promisify(execFile)(process.execPath, words, { env });
    return stdout.trimEnd();
  }

  test('are believed, and the request is sent once', async () => {
    bodies.length = 0;
    expect(await ask(at('authority.pem'))).toBe('welcome');
    expect(bodies).toEqual(['a body']);
  });

  test('are all that is believed besides those that Node brings', async () => {
    bodies.length = 0;
    expect(await ask('/nonexistent')).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
    expect(bodies).toEqual([]);
  });
});
