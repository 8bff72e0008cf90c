/** A CA's folder as `beacon ca init` makes it, in a temporary place, ready for `serve`: its App's id and secret are set. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { initCa } from '../src/init.ts';
import { makeKeysCheap } from './cheap-keys.ts';

export interface MadeCa {
  readonly folder: string;
  readonly configuration: string;
  at(name: string): string;
  /** Changes a file's text; a text that is not there is an error. */
  edit(name: string, from: string | RegExp, to: string): void;
  remove(): void;
}

/** A copy of a made CA, to be damaged. */
export function copyCa(made: MadeCa): MadeCa {
  const parent = mkdtempSync(join(tmpdir(), 'beacon-copied-ca-'));
  cpSync(made.folder, join(parent, 'ca'), { recursive: true });
  return handle(parent);
}

/** Like `init`'s, but with keys whose passphrase costs one round: opening and making them takes no half a second. */
export async function makeCheapCa(change: Partial<Parameters<typeof initCa>[0]> = {}): Promise<MadeCa> {
  const made = await makeCa(change);
  makeKeysCheap(made.folder);
  return made;
}

export async function makeCa(change: Partial<Parameters<typeof initCa>[0]> = {}): Promise<MadeCa> {
  const parent = mkdtempSync(join(tmpdir(), 'beacon-made-ca-'));
  const folder = join(parent, 'ca');
  await initCa({
    folder,
    publicUrl: 'https://ca.example',
    listenHost: '127.0.0.1',
    listenPort: 8443,
    provider: 'github',
    webUrl: 'https://github.com',
    apiUrl: 'https://api.github.com',
    clientId: 'Iv1.made0000000000',
    ...change,
  });
  const made = handle(parent);
  writeFileSync(made.at('keys/github_client_secret'), 'made-ca-client-secret-canary\n', { mode: 0o600 });
  return made;
}

function handle(parent: string): MadeCa {
  const folder = join(parent, 'ca');
  const at = (name: string) => join(folder, name);
  return {
    folder,
    configuration: at('ca.yaml'),
    at,
    edit(name, from, to) {
      const text = readFileSync(at(name), 'utf8');
      const changed = text.replace(from, to);
      if (changed === text) throw new Error(`${String(from)} is not in ${name}`);
      writeFileSync(at(name), changed);
    },
    remove: () => rmSync(parent, { recursive: true, force: true }),
  };
}
