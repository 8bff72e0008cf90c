/** The keys of a made CA again, behind a passphrase of one round: making and opening them takes no half a second. */
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** `folder`: the CA's, as `beacon ca init` made it. */
export function makeKeysCheap(folder: string): void {
  const passphrase = readFileSync(join(folder, 'keys/passphrase'), 'utf8').trim();
  for (const name of ['user_ca', 'host_ca', 'trust_status']) {
    const file = join(folder, 'keys', name);
    rmSync(file);
    rmSync(`${file}.pub`);
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-a', '1', '-N', passphrase, '-f', file]);
  }
}
