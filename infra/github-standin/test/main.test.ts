import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';

const main = join(import.meta.dirname, '../src/main.ts');

it('prints one line of JSON with its address, serves, and ends when told to', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'standin-'));
  const file = join(folder, 'standin.json');
  writeFileSync(file, JSON.stringify({ persons: [{ id: 583231, login: 'mona' }] }));
  const child = spawn(process.execPath, [main, '--port', '0', '--config', file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const [line] = await once(child.stdout, 'data');
    const { url } = JSON.parse(String(line));
    expect(await (await fetch(`${url}/users/mona`)).json()).toMatchObject({ id: 583231 });
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
  } finally {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  }
});
