import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Agent, get } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import { describe, expect, test } from '@jest/globals';
import { followTlsFiles, listen, type ReadTlsPair, readTlsFiles } from '../src/index.ts';
import { temporaryFolder } from './temporary.ts';

/** A key and a certificate for localhost, by its common name. */
function makePair(folder: string, name: string): { certificateFile: string; keyFile: string } {
  const files = { certificateFile: join(folder, `${name}.pem`), keyFile: join(folder, `${name}.key`) };
  const what = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const into = ['-subj', `/CN=${name}`, '-keyout', files.keyFile, '-out', files.certificateFile];
  execFileSync('openssl', ['req', ...what, ...into], { stdio: 'ignore' });
  return files;
}

async function serveTls() {
  const folder = temporaryFolder();
  const first = makePair(folder, 'first');
  const second = makePair(folder, 'second');
  const from = readTlsFiles(first);
  const where = { host: '127.0.0.1', port: 0, tls: from };
  const listening = await listen((_request, response) => response.end('here'), where);
  const replaced: ReadTlsPair[] = [];
  const failed: unknown[] = [];
  const following = followTlsFiles(first, {
    from,
    listening,
    onReplaced: (pair) => replaced.push(pair),
    onFailed: (error) => failed.push(error),
    everyMs: 20,
  });
  const shownName = () =>
    new Promise<unknown>((resolve, reject) => {
      const place = { port: listening.port, host: '127.0.0.1', rejectUnauthorized: false };
      const socket: TLSSocket = connect(place, () => {
        resolve(socket.getPeerCertificate().subject.CN);
        socket.destroy();
      });
      socket.on('error', reject);
    });
  const close = async () => {
    following.stop();
    await listening.close(100);
  };
  return { first, second, listening, following, replaced, failed, shownName, close };
}

const settles = async (isSo: () => boolean) => {
  while (!isSo()) await sleep(10);
};

describe('TLS files', () => {
  test('are taken when they change, and no open connection is dropped', async () => {
    const tls = await serveTls();
    const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
    const ask = () =>
      new Promise<{ text: string; reused: boolean }>((resolve, reject) => {
        const request = get({ port: tls.listening.port, host: '127.0.0.1', agent }, (response) => {
          let text = '';
          response.on('data', (chunk) => {
            text += String(chunk);
          });
          response.on('end', () => resolve({ text, reused: request.reusedSocket }));
        });
        request.on('error', reject);
      });
    expect(await ask()).toEqual({ text: 'here', reused: false });
    expect(await tls.shownName()).toBe('first');
    renameSync(tls.second.certificateFile, tls.first.certificateFile);
    renameSync(tls.second.keyFile, tls.first.keyFile);
    await settles(() => tls.replaced.length === 1);
    expect(await tls.shownName()).toBe('second');
    expect(await ask()).toEqual({ text: 'here', reused: true });
    expect(tls.following.failed).toBe(false);
    agent.destroy();
    await tls.close();
  });

  test('that do not fit leave the last good pair, are told once, and are forgiven when they fit', async () => {
    const tls = await serveTls();
    const key = readFileSync(tls.first.keyFile, 'utf8');
    copyFileSync(tls.second.keyFile, tls.first.keyFile);
    await settles(() => tls.following.failed);
    for (const text of ['', 'rubbish']) {
      writeFileSync(tls.first.certificateFile, text);
      tls.following.look();
      tls.following.look();
    }
    for (const error of tls.failed) expect(error).toMatchObject({ code: 'tls' });
    expect(tls.failed).toHaveLength(2);
    expect(String(tls.failed[0])).toContain(tls.first.keyFile);
    expect(await tls.shownName()).toBe('first');
    copyFileSync(tls.second.certificateFile, tls.first.certificateFile);
    await settles(() => !tls.following.failed);
    expect(await tls.shownName()).toBe('second');
    expect(String(tls.failed)).not.toContain(key.split('\n')[1]);
    await tls.close();
  });

  test('whose key others may read are refused', () => {
    const files = makePair(temporaryFolder(), 'open');
    execFileSync('chmod', ['644', files.keyFile]);
    expect(() => readTlsFiles(files)).toThrow(expect.objectContaining({ code: 'secret-file' }));
    execFileSync('chmod', ['600', files.keyFile]);
    expect(readTlsFiles(files).expiresAt.getTime()).toBeGreaterThan(Date.now());
  });
});
