import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { withLock } from '../src/lock.ts';
import { codeOf } from './refusal.ts';

const LOCK = resolve(import.meta.dirname, '../src/lock.ts');
/** Takes the lock, says so, and holds it until it is killed, or for so many milliseconds and then writes to the file. */
const HOLDER = `
  import { appendFileSync } from 'node:fs';
  const [lock, path, ms, file] = process.argv.slice(1);
  const { withLock } = await import(lock);
  withLock(path, () => {
    console.log('held');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(ms));
    appendFileSync(file, 'holder ');
  });
`;

let folder: string;
let path: string;
let file: string;
const children: ChildProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'beacon-lock-'));
  path = join(folder, 'lock');
  file = join(folder, 'written');
  writeFileSync(file, '');
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** Another process that holds the lock when this resolves. */
async function hold(ms: number): Promise<ChildProcess> {
  const words = [
    '--conditions=@beacon/source',
    '--input-type=module',
    '-e',
    HOLDER,
    LOCK,
    path,
    String(ms),
    file,
  ];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  await new Promise((resolve, reject) => {
    child.stdout?.once('data', resolve);
    child.once('close', () => reject(new Error('it ended before it had the lock')));
  });
  return child;
}

describe('the lock', () => {
  it('lets nobody else in until its holder is done', async () => {
    await hold(300);
    withLock(path, () => writeFileSync(file, `${readFileSync(file, 'utf8')}waiter`));
    expect(readFileSync(file, 'utf8')).toBe('holder waiter');
  });

  it('is free as soon as its holder is killed', async () => {
    const holder = await hold(60_000);
    // This thread waits without looking at anything, so somebody else has to kill.
    children.push(spawn('/bin/sh', ['-c', `sleep 0.3; kill -9 ${holder.pid}`]));
    expect(withLock(path, () => 'in')).toBe('in');
    expect(readFileSync(file, 'utf8')).toBe('');
  });

  it('is given back when the work fails, and is held once within itself', () => {
    expect(codeOf(() => withLock(join(folder, 'missing/lock'), () => undefined))).toBe('state-unavailable');
    expect(() => withLock(path, () => withLock(path, () => JSON.parse('{')))).toThrow(SyntaxError);
    expect(withLock(path, () => withLock(path, () => 'in'))).toBe('in');
  });

  it('writes nothing, and nobody but its owner can open it', () => {
    withLock(path, () => undefined);
    const { size, mode } = statSync(path);
    expect([size, mode & 0o777, readdirSync(folder).sort()]).toEqual([0, 0o600, ['lock', 'written']]);
  });

  it('is not taken on a file that is no lock', () => {
    writeFileSync(path, 'something else '.repeat(100));
    expect(codeOf(() => withLock(path, () => undefined))).toBe('state-unavailable');
  });
});
