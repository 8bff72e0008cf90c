/**
 * The values of RFC 4251 §5 as bytes: uint8, boolean, uint32, uint64, string, text and mpint, read and written.
 * The reader is strict and total: each length is bounded, an mpint is canonical and not negative, text is UTF-8
 * without NUL, and `end` refuses what is left over. Every failure is an `SshError`; nothing is read past the end.
 * What the values mean is the business of the files above this one.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import { SshError } from './error.ts';

/** OpenSSH's own bound of a packet (sshbuf and `PACKET_MAX_SIZE`): nothing that is longer can reach an sshd. */
export const MAX_BLOB_BYTES = 256 * 1024;

/** Reads values one after another from `bytes`. Results are views of `bytes`: copy what must outlive it. */
export class Reader {
  readonly #bytes: Buffer;
  readonly #what: string;
  #offset = 0;

  /** `what` names the whole in error messages: "certificate", "revocation list". */
  constructor(bytes: Buffer, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  /** How many bytes have not been read. */
  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  /** How many bytes have been read. */
  get offset(): number {
    return this.#offset;
  }

  uint8(field: string): number {
    return this.#bytes.readUInt8(this.#take(1, field));
  }

  /** RFC 4251 §5 `boolean`, but only 0 and 1: a writer never stores another value. */
  boolean(field: string): boolean {
    const value = this.uint8(field);
    if (value > 1) throw this.#error('wire-malformed', field, 'is neither 0 nor 1');
    return value === 1;
  }

  uint32(field: string): number {
    return this.#bytes.readUInt32BE(this.#take(4, field));
  }

  uint64(field: string): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8, field));
  }

  /** Exactly `length` bytes without a length before them. */
  bytes(field: string, length: number): Buffer {
    const start = this.#take(length, field);
    return this.#bytes.subarray(start, start + length);
  }

  /** RFC 4251 §5 `string` as bytes, of at most `max` bytes. */
  string(field: string, max: number = MAX_BLOB_BYTES): Buffer {
    const length = this.uint32(field);
    if (length > max) throw this.#error('wire-too-long', field, `is longer than ${max} bytes`);
    return this.bytes(field, length);
  }

  /** RFC 4251 §5 `string` as text: UTF-8 and without NUL (OpenSSH accepts one NUL at the end; nobody needs it). */
  text(field: string, max: number = MAX_BLOB_BYTES): string {
    const bytes = this.string(field, max);
    if (!isUtf8(bytes)) throw this.#error('wire-malformed', field, 'is not UTF-8');
    if (bytes.includes(0)) throw this.#error('wire-malformed', field, 'contains a NUL');
    return bytes.toString('utf8');
  }

  /** RFC 4251 §5 `mpint`, not negative: its magnitude, big-endian, without leading zeros (zero is empty). */
  mpint(field: string, maxBytes: number): Buffer {
    const bytes = this.string(field, maxBytes + 1);
    const [first, second] = bytes;
    if (first === undefined) return bytes;
    if (first >= 0x80) throw this.#error('wire-malformed', field, 'is negative');
    if (first !== 0) {
      if (bytes.length > maxBytes) throw this.#error('wire-too-long', field, `exceeds ${maxBytes} bytes`);
      return bytes;
    }
    if (second === undefined || second < 0x80) {
      throw this.#error('wire-malformed', field, 'is not in its shortest form');
    }
    return bytes.subarray(1);
  }

  /** Everything that has not been read. */
  rest(): Buffer {
    return this.bytes('rest', this.remaining);
  }

  /** Refuses bytes that are left over. */
  end(): void {
    if (this.remaining !== 0) {
      throw new SshError('wire-trailing', `${this.#what}: ${this.remaining} bytes are left over at the end`);
    }
  }

  #take(length: number, field: string): number {
    if (length > this.remaining) throw this.#error('wire-truncated', field, 'ends too early');
    const start = this.#offset;
    this.#offset += length;
    return start;
  }

  #error(
    code: 'wire-truncated' | 'wire-too-long' | 'wire-malformed',
    field: string,
    fault: string,
  ): SshError {
    return new SshError(code, `${this.#what}: ${field} ${fault}`);
  }
}

/** Collects values one after another; `toBuffer` gives their bytes. */
export class Writer {
  readonly #parts: Buffer[] = [];

  uint8(value: number): this {
    const part = Buffer.allocUnsafe(1);
    part.writeUInt8(inRange(value, 0xff));
    return this.raw(part);
  }

  boolean(value: boolean): this {
    return this.uint8(value ? 1 : 0);
  }

  uint32(value: number): this {
    const part = Buffer.allocUnsafe(4);
    part.writeUInt32BE(inRange(value, 0xffff_ffff));
    return this.raw(part);
  }

  uint64(value: bigint): this {
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn) {
      throw new SshError('wire-unencodable', 'the number does not fit in 64 bits');
    }
    const part = Buffer.allocUnsafe(8);
    part.writeBigUInt64BE(value);
    return this.raw(part);
  }

  /** RFC 4251 §5 `string`; text is written as UTF-8. */
  string(value: Buffer | string): this {
    const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
    return this.uint32(bytes.length).raw(bytes);
  }

  /** RFC 4251 §5 `mpint` of a magnitude, big-endian; leading zeros are allowed here and not written. */
  mpint(magnitude: Buffer): this {
    let start = 0;
    while (start < magnitude.length && magnitude[start] === 0) start += 1;
    const bytes = magnitude.subarray(start);
    const [first] = bytes;
    return this.string(
      first !== undefined && first >= 0x80 ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes,
    );
  }

  /** Bytes as they are, without a length. */
  raw(bytes: Buffer): this {
    this.#parts.push(bytes);
    return this;
  }

  toBuffer(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

function inRange(value: number, max: number): number {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw new SshError('wire-unencodable', `the number is not an integer from 0 to ${max}`);
  }
  return value;
}
