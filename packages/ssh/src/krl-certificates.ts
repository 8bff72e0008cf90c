/**
 * The part of a revocation list that speaks of one CA's certificates (OpenSSH's PROTOCOL.krl section 2): by serial and by key id. The
 * serials themselves are `krl-serials.ts`, the list around it `krl.ts`.
 */
import { Buffer } from 'node:buffer';
import { SshError } from './error.ts';
import {
  decodeSerials,
  encodeSerials,
  isSerialSection,
  mergeSerials,
  type SerialRange,
} from './krl-serials.ts';
import { decodePublicKey, type PublicKey } from './public-key.ts';
import { MAX_BLOB_BYTES, Reader, Writer } from './wire.ts';

/** What one CA's certificates are revoked by; `ca: null` means those of every CA. */
export interface RevokedCertificates {
  readonly ca: PublicKey | null;
  /** Sorted and joined. */
  readonly serials: readonly SerialRange[];
  /** Sorted by their bytes, without doubles. */
  readonly keyIds: readonly string[];
}

/** What is to be revoked of one CA's certificates, in any order. */
export interface CertificatesToRevoke {
  readonly ca: PublicKey | null;
  readonly serials: readonly (bigint | SerialRange)[];
  readonly keyIds: readonly string[];
}

const SECTION_KEY_IDS = 0x23;
const SECTION_EXTENSION = 0x39;
const MOST_KEY_IDS = 1_000_000;
const WHAT = 'revocation list';

/** Writes the content of a certificate section; `undefined` where nothing is revoked, since an empty one would say nothing. */
export function encodeCertificates({ ca, serials, keyIds }: CertificatesToRevoke): Buffer | undefined {
  if (serials.length === 0 && keyIds.length === 0) {
    return undefined;
  }
  const writer = new Writer().string(ca?.blob ?? '').string('');
  for (const { type, data } of encodeSerials(mergeSerials(serials))) {
    writer.uint8(type).string(data);
  }
  if (keyIds.length > 0) {
    const section = new Writer();
    for (const keyId of sortTexts(keyIds.map(checkText))) {
      section.string(keyId);
    }
    writer.uint8(SECTION_KEY_IDS).string(section.toBuffer());
  }
  return writer.toBuffer();
}

/** Collects the certificate sections of a list; several sections of one CA become one entry. */
export class CertificatesReader {
  readonly #entries = new Map<string, { ca: PublicKey | null; serials: SerialRange[]; keyIds: string[] }>();

  /** @throws SshError `krl-malformed`, `krl-unsupported`, `wire-…` or `key-…` */
  read(section: Buffer): void {
    const reader = new Reader(section, WHAT);
    const ca = reader.string('CA key');
    if (reader.string('reserved').length !== 0) {
      throw new SshError('krl-unsupported', `${WHAT}: the reserved bytes of a CA mean something unknown`);
    }
    const id = ca.toString('latin1');
    const entry = this.#entries.get(id) ?? {
      ca: ca.length === 0 ? null : decodePublicKey(ca),
      serials: [],
      keyIds: [],
    };
    this.#entries.set(id, entry);
    do {
      const type = reader.uint8('section type');
      const data = reader.string('section', section.length);
      if (isSerialSection(type)) {
        decodeSerials({ type, data }, entry.serials);
      } else if (type === SECTION_KEY_IDS) {
        readKeyIds(data, entry.keyIds);
      } else {
        const name = type === SECTION_EXTENSION ? 'extensions are' : `the section type ${type} is`;
        throw new SshError('krl-unsupported', `${WHAT}: for certificates ${name} not supported`);
      }
    } while (reader.remaining > 0);
  }

  /** What was read, sorted and without doubles. */
  certificates(): RevokedCertificates[] {
    return Array.from(this.#entries.values(), ({ ca, serials, keyIds }) => ({
      ca,
      serials: mergeSerials(serials),
      keyIds: sortTexts(keyIds),
    }));
  }
}

/** @throws SshError `krl-unencodable` for what OpenSSH or this package would not read back. */
export function checkText(text: string): string {
  if (text.includes('\0') || !text.isWellFormed() || Buffer.byteLength(text) > MAX_BLOB_BYTES) {
    throw new SshError(
      'krl-unencodable',
      'a comment or key id of a revocation list has a NUL, half a character, or is too long',
    );
  }
  return text;
}

function readKeyIds(data: Buffer, into: string[]): void {
  const reader = new Reader(data, WHAT);
  do {
    if (into.length >= MOST_KEY_IDS) {
      throw new SshError('wire-too-long', `${WHAT}: more than ${MOST_KEY_IDS} key ids`);
    }
    into.push(reader.text('key id'));
  } while (reader.remaining > 0);
}

/** In the order of their UTF-8 bytes, which is not JavaScript's own. */
function sortTexts(texts: readonly string[]): string[] {
  return Array.from(new Set(texts), (text) => Buffer.from(text, 'utf8'))
    .sort(Buffer.compare)
    .map((bytes) => bytes.toString('utf8'));
}
