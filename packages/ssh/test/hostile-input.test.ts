/** Vectors with bits flipped, cut, and mutated at random: every decoder of keys, certificates and signatures is total. */
import { describe, expect, test } from '@jest/globals';
import { decodeCertificate, parseCertificateLine } from '../src/certificate.ts';
import { certificateDefects } from '../src/certificate-defects.ts';
import { SshError } from '../src/error.ts';
import { decodeOptions } from '../src/options.ts';
import { decodePublicKey, keyObject, parsePublicKeyLine } from '../src/public-key.ts';
import { verifySignature } from '../src/signature.ts';
import { parseMessageSignature, verifyMessage } from '../src/sshsig.ts';
import { Writer } from '../src/wire.ts';
import { rawOptions } from './raw-certificate.ts';
import { ACCEPTED, KEYS, vectorBlob, vectorKey, vectorText } from './vectors.ts';

/** Each takes a millisecond or some; what is quadratic takes minutes, and a busy machine stops a program for a while. */
const LIMIT_MS = 1_000;

/** The code with which `decode` refuses; `undefined` where it accepts. Anything but an `SshError` is thrown on. */
function refusal(decode: () => unknown): string | undefined {
  try {
    decode();
    return undefined;
  } catch (error) {
    if (error instanceof SshError) return error.code;
    throw error;
  }
}

/** A generator of its own, so that a failure can be repeated: xorshift, good enough to choose bytes with. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

describe('vectors', () => {
  test.each(ACCEPTED)('refuses %s with a flipped bit in any byte, and cut at any length', (name) => {
    const blob = vectorBlob(name);
    // A key id of 64 KB has many like bytes, and P-521 is slow: a step that is prime to 8 reaches every bit.
    const step = blob.length > 10_000 ? 97 : /ca_ecdsa(384|521)/.test(name) ? 5 : 1;
    const bits = name === 'only_pty' || name === 'host' ? [0, 1, 2, 3, 4, 5, 6, 7] : [undefined];
    let accepted = 0;
    for (let at = 0; at < blob.length; at += step) {
      for (const bit of bits) {
        const changed = Buffer.from(blob);
        changed[at] = (changed[at] ?? 0) ^ (1 << (bit ?? at % 8));
        if (refusal(() => decodeCertificate(changed)) === undefined) accepted += 1;
      }
    }
    for (let length = 0; length < blob.length; length += blob.length > 10_000 ? 97 : 1) {
      if (refusal(() => decodeCertificate(blob.subarray(0, length))) === undefined) accepted += 1;
    }
    expect(accepted).toBe(0);
  });
});

describe('mutated inputs', () => {
  const INTERESTING = [0x00, 0x01, 0x7f, 0x80, 0xff];

  /** One to four changes: a bit, a byte, a length of 2^32-1, a cut, an insertion, a piece twice or out of another input. */
  function mutate(source: Buffer, other: Buffer, random: (below: number) => number): Buffer {
    let bytes: Buffer = Buffer.from(source);
    for (let change = random(4); change >= 0; change -= 1) {
      const at = random(Math.max(bytes.length, 1));
      const length = random(40);
      const kind = random(8);
      if (kind === 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
      else if (kind === 1) bytes[at] = INTERESTING[random(INTERESTING.length)] ?? 0;
      else if (kind === 2 && at + 4 <= bytes.length)
        bytes.writeUInt32BE(random(2) === 0 ? 0xffff_ffff : random(1000), at);
      else if (kind === 3) bytes = bytes.subarray(0, at);
      else if (kind === 4)
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.alloc(length, random(256)), bytes.subarray(at)]);
      else if (kind === 5) bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
      else if (kind === 6)
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(random(Math.max(other.length, 1)))]);
      else bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    }
    return bytes;
  }

  const certificates = ACCEPTED.filter((name) => name !== 'key_id_64k').map(vectorBlob);
  const keys = KEYS.map((name) => vectorKey(name).blob);
  const message = Buffer.from(vectorText('message.txt'));
  const signatures = ['ed25519', 'ecdsa256', 'ecdsa384', 'rsa3072'].map((name) =>
    vectorText(`message_${name}.sig`),
  );
  const lines = ACCEPTED.filter((name) => name !== 'key_id_64k').map((name) =>
    Buffer.from(vectorText(`${name}.pub`)),
  );
  const options = [
    rawOptions(['permit-pty', ''], ['permit-user-rc', '']),
    rawOptions(['colour@example.com', 'green'], ['grant@beacon', Buffer.from('0000000161', 'hex')]),
  ];

  test.each<[number, string, readonly Buffer[], (bytes: Buffer) => unknown]>([
    [50_000, 'certificates', certificates, (bytes) => certificateDefects(decodeCertificate(bytes))],
    [10_000, 'certificate lines', lines, (bytes) => parseCertificateLine(bytes.toString('latin1'))],
    [15_000, 'public keys', keys, (bytes) => keyObject(decodePublicKey(bytes))],
    [
      5_000,
      'public key lines',
      KEYS.map((name) => Buffer.from(vectorText(`key_${name}.pub`))),
      (bytes) => parsePublicKeyLine(bytes.toString('utf8')),
    ],
    [
      10_000,
      'options',
      options,
      (bytes) => [decodeOptions('extension', bytes), decodeOptions('critical', bytes)],
    ],
    [
      5_000,
      'message signatures',
      signatures.map(parseMessageSignature),
      (bytes) => verifyMessage({ signature: bytes, namespace: 'certificate@beacon', message }),
    ],
    [
      3_000,
      'armoured signatures',
      signatures.map((text) => Buffer.from(text)),
      (bytes) => parseMessageSignature(bytes.toString('latin1')),
    ],
    [
      2_000,
      'signatures of an Ed25519 key',
      signatures.map((text) => parseMessageSignature(text).subarray(-83)),
      (bytes) => verifySignature(vectorKey('ed25519'), message, bytes),
    ],
  ])('%i %s end in a value or an SshError, each within a second', (count, _, sources, decode) => {
    const random = createRandom(count + 20_260_101);
    const pick = (): Buffer => sources[random(sources.length)] ?? Buffer.alloc(0);
    let slowest: Buffer = Buffer.alloc(0);
    let slowestMs = 0;
    for (let round = 0; round < count; round += 1) {
      const bytes = mutate(pick(), pick(), random);
      const start = performance.now();
      refusal(() => decode(bytes));
      const elapsed = performance.now() - start;
      if (elapsed > slowestMs) [slowest, slowestMs] = [bytes, elapsed];
    }
    // A pause of the machine is no fault of the input: the slowest one counts at its best of three.
    const again = [1, 2, 3].map(() => {
      const start = performance.now();
      refusal(() => decode(slowest));
      return performance.now() - start;
    });
    expect(Math.min(slowestMs, ...again)).toBeLessThan(LIMIT_MS);
  });

  test('the largest RSA key with the largest exponent is verified within a second', () => {
    const blob = new Writer().string('ssh-rsa').mpint(Buffer.alloc(8, 0xff)).mpint(Buffer.alloc(2048, 0xff));
    const key = decodePublicKey(blob.toBuffer());
    const signature = new Writer().string('rsa-sha2-512').string(Buffer.alloc(2048, 0x7f)).toBuffer();
    const times = [1, 2, 3].map(() => {
      const start = performance.now();
      expect(refusal(() => verifySignature(key, Buffer.from('data'), signature))).toBe('signature-wrong');
      return performance.now() - start;
    });
    expect(Math.min(...times)).toBeLessThan(LIMIT_MS);
  });
});
