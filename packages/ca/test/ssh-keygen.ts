/** What OpenSSH's own ssh-keygen reads in certificates, and how it judges them by a revocation list. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Listed {
  readonly type: string;
  readonly kind: 'user' | 'host';
  readonly publicKey: string;
  readonly signingCa: string;
  readonly keyId: string;
  readonly serial: string;
  readonly validFrom: string;
  readonly validTo: string;
  readonly principals: readonly string[];
  readonly criticalOptions: readonly string[];
  readonly extensions: readonly string[];
}

/** `ssh-keygen -L` over many certificate lines at once. */
export function listCertificates(lines: readonly string[]): Listed[] {
  const output = execFileSync('ssh-keygen', ['-L', '-f', '-'], {
    input: `${lines.join('\n')}\n`,
    env: { ...process.env, TZ: 'UTC' },
  }).toString();
  return output
    .split(/^\S+:\d+:$/m)
    .slice(1)
    .map(readListing);
}

function readListing(text: string): Listed {
  const field = (name: string) => new RegExp(`^ {8}${name}: (.*)$`, 'm').exec(text)?.[1] ?? '';
  const list = (name: string) => {
    const found = new RegExp(`^ {8}${name}: ?(\\(none\\))?\n((?: {16}.*\n?)*)`, 'm').exec(text);
    return (found?.[2] ?? '')
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
  };
  const [, type = '', kind = ''] = /^(\S+) (user|host) certificate$/.exec(field('Type')) ?? [];
  const [, from = '', to = ''] = /^from (\S+) to (\S+)$/.exec(field('Valid')) ?? [];
  return {
    type,
    kind: kind === 'host' ? 'host' : 'user',
    publicKey: /SHA256:\S+/.exec(field('Public key'))?.[0] ?? '',
    signingCa: /SHA256:\S+/.exec(field('Signing CA'))?.[0] ?? '',
    keyId: /^"(.*)"$/.exec(field('Key ID'))?.[1] ?? '',
    serial: field('Serial'),
    validFrom: from,
    validTo: to,
    principals: list('Principals'),
    criticalOptions: list('Critical Options'),
    extensions: list('Extensions'),
  };
}

/** `ssh-keygen -Q`: which of these certificate or key lines the list revokes. Throws when it cannot read the list. */
export function judgeByKrl(krl: Buffer, lines: readonly string[]): boolean[] {
  const folder = mkdtempSync(join(tmpdir(), 'beacon-krl-'));
  try {
    writeFileSync(join(folder, 'krl'), krl);
    const files = lines.map((line, index) => {
      const file = join(folder, `${index}.pub`);
      writeFileSync(file, `${line}\n`);
      return file;
    });
    const { stdout, stderr } = spawnSync('ssh-keygen', ['-Q', '-f', join(folder, 'krl'), ...files]);
    const said = new Map(
      stdout
        .toString()
        .split('\n')
        .map((line) => [line.split(' ', 1).join(''), /: (ok|REVOKED)$/.exec(line)?.[1]]),
    );
    return files.map((file) => {
      const verdict = said.get(file);
      if (verdict === undefined)
        throw new Error(`ssh-keygen -Q said: ${stdout.toString()}${stderr.toString()}`);
      return verdict === 'REVOKED';
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
