/**
 * OpenSSH's key revocation lists (PROTOCOL.krl), read and written, and the question they answer. How serials are divided into sections
 * is `krl-serials.ts`. What is not here: fetching, signing or trusting a list.
 *
 * sshd takes a list that holds a header and nothing else, or that was cut between two sections, as a valid one that revokes less (seen
 * on 9.2). Two things stand against that. The trust status names the exact length and SHA-256 of the list, and a host installs no other.
 * And each list written here ends in a seal: a section of one SHA-256 fingerprint which is the digest of all that stands before it. To
 * sshd it is the fingerprint of no key; to a reader here a list without it is `sealed: false`, which for a list of ours means that
 * something was lost. The seal is no signature: it shows an accident, not a forger.
 */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { SshError } from './error.ts';
import { formatFingerprint } from './is-revoked.ts';
import {
  CertificatesReader,
  type CertificatesToRevoke,
  checkText,
  encodeCertificates,
  type RevokedCertificates,
} from './krl-certificates.ts';
import { decodePublicKey, type PublicKey } from './public-key.ts';
import { Reader, Writer } from './wire.ts';

/** A revocation list that was read. */
export interface Krl {
  readonly version: bigint;
  /** Whole seconds. */
  readonly generated: Date;
  readonly comment: string;
  /** One entry for each CA. */
  readonly authorities: readonly RevokedCertificates[];
  /** Keys revoked as they are: as a plain key, as a certificate's subject, and as the CA of certificates. */
  readonly keys: readonly PublicKey[];
  /** Keys revoked by `SHA256:…` (or `SHA1:…`, which is read but never written), with the same effect. */
  readonly fingerprints: readonly string[];
  /** Whether the list ends in the seal that `encodeKrl` writes; ssh-keygen's lists have none. */
  readonly sealed: boolean;
}

/** What `encodeKrl` takes; a `Krl` without SHA-1 fingerprints fits. Nothing needs to be sorted. */
export interface KrlContent {
  readonly version: bigint;
  readonly generated: Date;
  readonly comment: string;
  readonly authorities: readonly CertificatesToRevoke[];
  readonly keys?: readonly PublicKey[];
  /** `SHA256:…`, as `fingerprint` gives them. */
  readonly fingerprints?: readonly string[];
}

/** Above four million random serials; sshd's own limit is 128 MiB. */
export const MAX_KRL_BYTES = 32 * 1024 * 1024;

const MAGIC = Buffer.from('SSHKRL\n\0', 'latin1');
const FORMAT_VERSION = 1;
const SECTION_CERTIFICATES = 1;
const SECTION_KEYS = 2;
const SECTION_SHA1 = 3;
const SECTION_SIGNATURE = 4;
const SECTION_SHA256 = 5;
const SECTION_EXTENSION = 255;

const WHAT = 'revocation list';
const SEAL_TAG = 'beacon-krl-seal-1\0';
const SEAL_BYTES = 1 + 4 + 4 + 32;
const DIGEST_BYTES = { SHA256: 32, SHA1: 20 } as const;
/** The last second that a `Date` can hold. */
const LAST_SECOND = 8_640_000_000_000n;

/**
 * Writes a list with the smallest sections of serials, and the seal at its end. A list that revokes nothing is valid and loads in sshd.
 * @throws SshError `krl-unencodable` for serial 0 or one beyond 64 bits, a text with NUL or half a character, a date before 1970, a
 * fingerprint that is not `SHA256:…`, or a list beyond 32 MiB.
 */
export function encodeKrl(content: KrlContent): Buffer {
  const seconds = Math.floor(content.generated.getTime() / 1000);
  if (!(seconds >= 0)) {
    throw new SshError('krl-unencodable', 'a revocation list needs a date from 1970 on');
  }
  const writer = new Writer()
    .raw(MAGIC)
    .uint32(FORMAT_VERSION)
    .uint64(content.version)
    .uint64(BigInt(seconds))
    .uint64(0n)
    .string('')
    .string(checkText(content.comment));
  for (const authority of content.authorities) {
    const section = encodeCertificates(authority);
    if (section !== undefined) {
      writer.uint8(SECTION_CERTIFICATES).string(section);
    }
  }
  writeStrings(writer, SECTION_KEYS, sortBlobs((content.keys ?? []).map((key) => key.blob)));
  writeStrings(writer, SECTION_SHA256, sortBlobs((content.fingerprints ?? []).map(digestOfFingerprint)));
  const body = writer.toBuffer();
  if (body.length + SEAL_BYTES > MAX_KRL_BYTES) {
    throw new SshError('krl-unencodable', `the revocation list is longer than ${MAX_KRL_BYTES} bytes`);
  }
  return Buffer.concat([body, new Writer().uint8(SECTION_SHA256).string(sealOf(body)).toBuffer()]);
}

/**
 * Reads a list. Refused whole, as sshd refuses it: another format, unknown sections, extensions (critical or not: 9.2 knows none),
 * signature sections, serial 0, bitmaps beyond 16,384 serials, anything cut inside a section or left over. Refused although sshd reads
 * it: flags or reserved bytes, sections without content, unsorted fingerprints, key ids that are not UTF-8, and revoked keys of a type
 * that this package does not know. Cut between sections: see `sealed`.
 * @throws SshError `krl-malformed`, `krl-unsupported`, `wire-…` or `key-…`
 */
export function decodeKrl(blob: Buffer): Krl {
  if (blob.length > MAX_KRL_BYTES) {
    throw new SshError('wire-too-long', `${WHAT}: it is longer than ${MAX_KRL_BYTES} bytes`);
  }
  if (!blob.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new SshError('krl-malformed', 'this is no OpenSSH revocation list: it does not begin like one');
  }
  const reader = new Reader(blob, WHAT);
  reader.bytes('magic', MAGIC.length);
  const header = readHeader(reader);
  const certificates = new CertificatesReader();
  const keys = new Map<string, PublicKey>();
  const fingerprints = new Set<string>();
  let sealed = false;
  while (reader.remaining > 0) {
    const body = blob.subarray(0, reader.offset);
    const type = reader.uint8('section type');
    const data = reader.string('section', MAX_KRL_BYTES);
    switch (type) {
      case SECTION_CERTIFICATES:
        certificates.read(data);
        break;
      case SECTION_KEYS:
        for (const key of readStrings(data)) {
          keys.set(key.toString('latin1'), decodePublicKey(key));
        }
        break;
      case SECTION_SHA256:
        sealed = reader.remaining === 0 && data.equals(sealOf(body));
        if (!sealed) {
          readFingerprints(data, 'SHA256', fingerprints);
        }
        break;
      case SECTION_SHA1:
        readFingerprints(data, 'SHA1', fingerprints);
        break;
      case SECTION_SIGNATURE:
      case SECTION_EXTENSION:
        throw new SshError('krl-unsupported', `${WHAT}: signatures and extensions are not supported`);
      default:
        throw new SshError('krl-unsupported', `${WHAT}: the section type ${type} is unknown`);
    }
  }
  return {
    ...header,
    authorities: certificates.certificates(),
    keys: [...keys.values()].sort((a, b) => a.blob.compare(b.blob)),
    fingerprints: [...fingerprints].sort(),
    sealed,
  };
}

function readHeader(reader: Reader): { version: bigint; generated: Date; comment: string } {
  const format = reader.uint32('format version');
  if (format !== FORMAT_VERSION) {
    throw new SshError('krl-unsupported', `${WHAT}: the format version ${format} is unknown`);
  }
  const version = reader.uint64('version');
  const seconds = reader.uint64('date');
  if (seconds > LAST_SECOND) {
    throw new SshError('krl-malformed', `${WHAT}: its date lies beyond the calendar`);
  }
  if (reader.uint64('flags') !== 0n || reader.string('reserved').length !== 0) {
    throw new SshError('krl-unsupported', `${WHAT}: its flags or reserved bytes mean something unknown`);
  }
  return { version, generated: new Date(Number(seconds) * 1000), comment: reader.text('comment') };
}

function* readStrings(data: Buffer): Generator<Buffer> {
  const reader = new Reader(data, WHAT);
  do {
    yield reader.string('revoked key');
  } while (reader.remaining > 0);
}

/** PROTOCOL.krl section 4: hashes stand in numeric order. */
function readFingerprints(data: Buffer, hash: 'SHA256' | 'SHA1', into: Set<string>): void {
  let previous: Buffer | undefined;
  for (const digest of readStrings(data)) {
    if (digest.length !== DIGEST_BYTES[hash] || (previous !== undefined && previous.compare(digest) >= 0)) {
      throw new SshError('krl-malformed', `${WHAT}: fingerprints have a wrong length or are not sorted`);
    }
    into.add(formatFingerprint(hash, digest));
    previous = digest;
  }
}

function writeStrings(writer: Writer, type: number, strings: readonly Buffer[]): void {
  if (strings.length > 0) {
    const section = new Writer();
    for (const value of strings) {
      section.string(value);
    }
    writer.uint8(type).string(section.toBuffer());
  }
}

/** The content of the sealing section. */
function sealOf(body: Buffer): Buffer {
  const digest = createHash('sha256').update(SEAL_TAG, 'latin1').update(body).digest();
  return new Writer().string(digest).toBuffer();
}

function sortBlobs(blobs: readonly Buffer[]): Buffer[] {
  const sorted = [...blobs].sort(Buffer.compare);
  return sorted.filter((blob, index) => index === 0 || sorted[index - 1]?.equals(blob) === false);
}

function digestOfFingerprint(text: string): Buffer {
  const digest = Buffer.from(text.slice('SHA256:'.length), 'base64');
  if (digest.length !== 32 || formatFingerprint('SHA256', digest) !== text) {
    throw new SshError(
      'krl-unencodable',
      'a revoked fingerprint has the form SHA256:…, as ssh-keygen -l prints it',
    );
  }
  return digest;
}
