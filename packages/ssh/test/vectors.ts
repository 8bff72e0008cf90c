/** The files that `vectors/generate.sh` made, and ssh-keygen itself for what is compared while the tests run. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { splitKeyLine } from '../src/key-line.ts';
import { type PublicKey, parsePublicKeyLine } from '../src/public-key.ts';

const folder = join(import.meta.dirname, 'vectors');

/** The names of all certificates among the vectors, without `.pub`. */
export const CERTIFICATES = readdirSync(folder)
  .filter((file) => file.endsWith('.pub') && !file.startsWith('key_') && file !== 'key_id_empty.pub')
  .concat(readdirSync(folder).filter((file) => file.startsWith('key_id_')))
  .map((file) => file.slice(0, -'.pub'.length))
  .sort();

/** The names of all plain public keys among the vectors, such as `ca_ed25519`. */
export const KEYS = readdirSync(folder)
  .filter((file) => file.startsWith('key_') && !file.startsWith('key_id_'))
  .map((file) => file.slice('key_'.length, -'.pub'.length))
  .sort();

/** Vectors that ssh-keygen makes and a strict reader refuses. */
export const REFUSED = ['flag_with_data', 'text_without_inner_string'];

export const ACCEPTED = CERTIFICATES.filter((name) => !REFUSED.includes(name));

export function vectorText(file: string): string {
  return readFileSync(join(folder, file), 'utf8');
}

export function vectorBlob(name: string): Buffer {
  return splitKeyLine(vectorText(`${name}.pub`)).blob;
}

export function vectorKey(name: string): PublicKey {
  return parsePublicKeyLine(vectorText(`key_${name}.pub`)).key;
}

/** Does `use` with a new folder that is gone afterwards. */
export async function withFolder<T>(use: (directory: string) => T | Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'beacon-ssh-'));
  try {
    return await use(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What `ssh-keygen -L` prints for the line of a certificate, without the name of the file and in UTC. */
export async function listCertificate(line: string): Promise<string> {
  return withFolder((directory) => {
    const file = join(directory, 'certificate.pub');
    writeFileSync(file, `${line}\n`);
    const text = execFileSync('ssh-keygen', ['-L', '-f', file], {
      encoding: 'utf8',
      env: { ...process.env, TZ: 'UTC', LC_ALL: 'C.UTF-8' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return text.slice(text.indexOf('\n') + 1);
  });
}

/** ssh-keygen's exit status and output; `input` is its stdin. */
export function sshKeygen(
  arguments_: readonly string[],
  input: Buffer | string = '',
): { status: number | null; stdout: string } {
  const { status, stdout } = spawnSync('ssh-keygen', [...arguments_], { input, encoding: 'utf8' });
  return { status, stdout };
}
