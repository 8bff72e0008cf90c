/**
 * What the CA's speed is compared with: the signatures that one request cannot do without, by Node's crypto alone in one
 * thread; `ssh-keygen -s` as one would script it, a process for each certificate; and what the disk can do.
 */
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatPrivateKey, generateKey } from '@beacon/ssh/key';
import { formatPublicKeyLine } from '@beacon/ssh/public-key';

/** Calls a second over a few seconds, after a warm-up. */
function rate(seconds: number, work: () => void): number {
  const spin = (ms: number) => {
    const start = performance.now();
    let calls = 0;
    for (; performance.now() - start < ms; calls++) work();
    return (calls * 1000) / (performance.now() - start);
  };
  spin(500);
  return spin(seconds * 1000);
}

/** The DPoP proof's and the key proof's verification and the certificate's signature: how many threes a second. */
export function measureFloor(seconds: number): number {
  const pair = () => generateKeyPairSync('ed25519');
  const [proof, subject, ca] = [pair(), pair(), pair()];
  const jwt = randomBytes(900);
  const keyProof = randomBytes(130);
  const certificate = randomBytes(700);
  const proofSignature = sign(null, jwt, proof.privateKey);
  const keyProofSignature = sign(null, keyProof, subject.privateKey);
  return rate(seconds, () => {
    const holds =
      verify(null, jwt, proof.publicKey, proofSignature) &&
      verify(null, keyProof, subject.publicKey, keyProofSignature);
    if (!holds) throw new Error('a signature does not hold');
    sign(null, certificate, ca.privateKey);
  });
}

export async function measureSshKeygen(seconds: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'beacon-bench-'));
  const file = (name: string) => join(folder, name);
  try {
    writeFileSync(file('ca'), await formatPrivateKey(generateKey('ssh-ed25519').privateKey), { mode: 0o600 });
    writeFileSync(file('key.pub'), `${formatPublicKeyLine(generateKey('ssh-ed25519').publicKey)}\n`);
    const what = ['-I', 'bench', '-n', 'deploy@web-01', '-V', '+15m', file('key.pub')];
    return rate(seconds, () => {
      if (spawnSync('ssh-keygen', ['-q', '-s', file('ca'), ...what]).status !== 0)
        throw new Error('ssh-keygen -s failed');
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** How often a second 4 KiB can be written and be on disk, where the bench keeps its store. */
export function measureFsync(seconds: number): number {
  const folder = mkdtempSync(join(tmpdir(), 'beacon-bench-'));
  const descriptor = openSync(join(folder, 'file'), 'w');
  try {
    const page = randomBytes(4096);
    return rate(seconds, () => {
      writeSync(descriptor, page);
      fsyncSync(descriptor);
    });
  } finally {
    closeSync(descriptor);
    rmSync(folder, { recursive: true, force: true });
  }
}
