/** Real keys and certificates made by ssh-keygen, and its verdicts on revocation lists, for the tests of those lists. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RevocableCertificate } from '../src/is-revoked.ts';
import { type PublicKey, parsePublicKeyLine } from '../src/public-key.ts';

export interface LabCertificate extends RevocableCertificate {
  readonly file: string;
}

export interface LabKey {
  readonly file: string;
  readonly key: PublicKey;
}

export const LAB_SERIALS = [0n, 1n, 5n, 6n, 64n, 4_096n, 20_000n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n];
export const LAB_KEY_IDS = ['beacon/1/github:7', 'alice', 'ümläut id', 'x'];

/** Two CAs, four keys, and for each CA a certificate for each serial, with keys and key ids taken in turn. */
export class RevocationLab {
  readonly directory = mkdtempSync(join(tmpdir(), 'krl-'));
  readonly authorities: LabKey[] = [];
  readonly keys: LabKey[] = [];
  readonly certificates: LabCertificate[] = [];

  constructor() {
    for (const [name, type] of [
      ['ca-a', 'ed25519'],
      ['ca-b', 'ecdsa'],
    ] as const) {
      this.authorities.push(this.#makeKey(name, type));
    }
    for (const [name, type] of [
      ['key-a', 'ed25519'],
      ['key-b', 'ecdsa'],
      ['key-c', 'rsa'],
      ['key-d', 'ed25519'],
    ] as const) {
      this.keys.push(this.#makeKey(name, type));
    }
    for (const [authorityIndex, authority] of this.authorities.entries()) {
      for (const [index, serial] of LAB_SERIALS.entries()) {
        const subject = this.keys[(index + authorityIndex) % this.keys.length];
        const keyId = LAB_KEY_IDS[(index >>> 1) % LAB_KEY_IDS.length];
        if (subject === undefined || keyId === undefined) {
          throw new Error('the laboratory has no such key');
        }
        const file = join(this.directory, `cert-${authorityIndex}-${index}.pub`);
        writeFileSync(file, readFileSync(subject.file));
        const caFile = authority.file.slice(0, -'.pub'.length);
        execFileSync('ssh-keygen', [
          '-q',
          '-s',
          caFile,
          '-I',
          keyId,
          '-n',
          'web@build-01',
          '-z',
          String(serial),
          file,
        ]);
        this.certificates.push({
          file: file.replace(/\.pub$/, '-cert.pub'),
          publicKey: subject.key,
          ca: authority.key,
          serial,
          keyId,
        });
      }
    }
  }

  /** For each certificate, then each key, then each CA: whether ssh-keygen finds it revoked; `undefined` where it refuses the list. */
  verdicts(list: Buffer): boolean[] | undefined {
    const file = join(this.directory, 'list.krl');
    writeFileSync(file, list);
    const files = [...this.certificates, ...this.keys, ...this.authorities].map((entry) => entry.file);
    const { status, stdout } = spawnSync('ssh-keygen', ['-Q', '-f', file, ...files], { encoding: 'utf8' });
    if (status !== 0 && status !== 1) {
      return undefined;
    }
    const lines = stdout.trimEnd().split('\n');
    if (lines.length !== files.length) {
      throw new Error(`ssh-keygen gave ${lines.length} verdicts for ${files.length} files`);
    }
    return lines.map((line) => line.endsWith(': REVOKED'));
  }

  /** What `verdicts` asks about, in the same order. */
  targets(): (PublicKey | RevocableCertificate)[] {
    return [...this.certificates, ...[...this.keys, ...this.authorities].map(({ key }) => key)];
  }

  /** A list that ssh-keygen writes from its own specification, for one CA after another. */
  write(parts: readonly { readonly ca: string; readonly specification: string }[]): Buffer {
    const file = join(this.directory, 'theirs.krl');
    rmSync(file, { force: true });
    for (const [index, { ca, specification }] of parts.entries()) {
      const input = join(this.directory, 'specification');
      writeFileSync(input, specification);
      execFileSync('ssh-keygen', [
        '-q',
        '-k',
        ...(index > 0 ? ['-u'] : []),
        '-f',
        file,
        '-s',
        ca,
        '-z',
        '7',
        input,
      ]);
    }
    return readFileSync(file);
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  #makeKey(name: string, type: string): LabKey {
    const file = join(this.directory, name);
    execFileSync('ssh-keygen', [
      '-q',
      '-t',
      type,
      ...(type === 'rsa' ? ['-b', '3072'] : []),
      '-N',
      '',
      '-C',
      name,
      '-f',
      file,
    ]);
    return { file: `${file}.pub`, key: parsePublicKeyLine(readFileSync(`${file}.pub`, 'utf8')).key };
  }
}
