/**
 * How fast certificates are made and read, beside the physical limit (Node's own Ed25519, nothing else) and what a person
 * would use instead (`ssh-keygen -s`, one process a certificate), in one run. Prints a table and, last, one JSON line.
 */
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeCertificate } from '@beacon/ssh/certificate';
import { formatPrivateKey, generateKey } from '@beacon/ssh/key';
import { formatPublicKeyLine } from '@beacon/ssh/public-key';
import { createUserCa, signUserCertificate } from '@beacon/ssh/sign-certificate';
import { createSigner } from '@beacon/ssh/signature';

const SECONDS = 3;

/** Calls a second over a few seconds, after a warm-up. */
async function rate(work: () => unknown): Promise<number> {
  const spin = async (ms: number) => {
    const start = performance.now();
    let calls = 0;
    for (; performance.now() - start < ms; calls++) await work();
    return (calls * 1000) / (performance.now() - start);
  };
  await spin(500);
  return spin(SECONDS * 1000);
}

const ca = generateKey('ssh-ed25519');
const subject = generateKey('ssh-ed25519');
const authority = createUserCa(createSigner(ca.privateKey));
const now = BigInt(Math.floor(Date.now() / 1000));
let serial = 0n;
const make = () => {
  serial += 1n;
  const fields = {
    publicKey: subject.publicKey,
    serial,
    keyId: 'beacon/01jd8z0000abcdefghjkmnpqrs/github:583231',
    principals: ['deploy@build-01'],
    validAfter: now - 60n,
    validBefore: now + 900n,
    extensions: { 'permit-pty': true as const },
  };
  return signUserCertificate(fields, authority, randomBytes(32));
};
const blob = await make();
const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const signature = sign(null, blob, privateKey);

const folder = mkdtempSync(join(tmpdir(), 'beacon-bench-'));
const keygen = await (async () => {
  try {
    writeFileSync(join(folder, 'ca'), await formatPrivateKey(ca.privateKey), { mode: 0o600 });
    writeFileSync(join(folder, 'key.pub'), `${formatPublicKeyLine(subject.publicKey)}\n`);
    const arguments_ = [
      '-q',
      '-s',
      join(folder, 'ca'),
      '-I',
      'bench',
      '-n',
      'deploy@build-01',
      '-V',
      '+15m',
      join(folder, 'key.pub'),
    ];
    return await rate(() => {
      if (spawnSync('ssh-keygen', arguments_).status !== 0) throw new Error('ssh-keygen -s failed');
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
})();
const result = {
  bench: 'certificate',
  sign_floor_per_s: Math.round(await rate(() => sign(null, blob, privateKey))),
  sign_per_s: Math.round(await rate(make)),
  verify_floor_per_s: Math.round(await rate(() => verify(null, blob, publicKey, signature))),
  decode_per_s: Math.round(await rate(() => decodeCertificate(blob))),
  ssh_keygen_per_s: Math.round(keygen),
};
const row = (name: string, perSecond: number, ratio: string) =>
  `${name.padEnd(42)}${String(perSecond).padStart(9)}   ${ratio}\n`;
const percent = (part: number, whole: number) => `${Math.round((100 * part) / whole)} % of the floor`;
process.stdout.write(
  `${'what'.padEnd(42)}${'a second'.padStart(9)}\n` +
    row('Ed25519 signature alone (floor)', result.sign_floor_per_s, '') +
    row(
      'make and sign a certificate',
      result.sign_per_s,
      percent(result.sign_per_s, result.sign_floor_per_s),
    ) +
    row('Ed25519 verification alone (floor)', result.verify_floor_per_s, '') +
    row(
      'decode and verify a certificate',
      result.decode_per_s,
      percent(result.decode_per_s, result.verify_floor_per_s),
    ) +
    row(
      'ssh-keygen -s, a process each',
      result.ssh_keygen_per_s,
      `ours is ${Math.round(result.sign_per_s / result.ssh_keygen_per_s)} times as fast`,
    ) +
    `${JSON.stringify(result)}\n`,
);
