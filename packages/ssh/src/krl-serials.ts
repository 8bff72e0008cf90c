/**
 * The serial numbers of a key revocation list (OpenSSH's PROTOCOL.krl sections 2.1 to 2.3): a set of serials as sorted ranges, and its
 * smallest division (but for a byte to each bitmap) into list, range and bitmap sections. Which CA they belong to and everything else
 * in the list is `krl.ts`.
 *
 * OpenSSH reads no number longer than 16,384 bits, so no bitmap may span more serials than that. ssh-keygen itself writes longer ones,
 * which sshd and ssh-keygen then refuse whole (seen on 9.2); the division here never does.
 */
import { Buffer } from 'node:buffer';
import { SshError } from './error.ts';

/** Revoked serials from `first` to `last`, both included. */
export interface SerialRange {
  readonly first: bigint;
  readonly last: bigint;
}

type SectionKind = 'list' | 'range' | 'bitmap';

/** One section of serials: its number in the format and its content. */
export interface SerialSection {
  readonly type: number;
  readonly data: Buffer;
}

const SECTION_LIST = 0x20;
const SECTION_RANGE = 0x21;
const SECTION_BITMAP = 0x22;

const LARGEST_SERIAL = 0xffff_ffff_ffff_ffffn;
const BITMAP_MOST_BITS = 16_384;
/** What one set may take in memory, about 160 MB; a million random serials are a million ranges. */
const MOST_RANGES = 2_000_000;

/**
 * Sorts serials and ranges, and joins those that overlap or touch.
 * @throws SshError `krl-unencodable` for serial 0 (which OpenSSH cannot revoke), one beyond 64 bits, or a range that ends before it begins.
 */
export function mergeSerials(serials: Iterable<bigint | SerialRange>): SerialRange[] {
  const single: bigint[] = [];
  const ranges: SerialRange[] = [];
  for (const entry of serials) {
    const { first, last } = typeof entry === 'bigint' ? { first: entry, last: entry } : entry;
    const fault = faultOfRange(first, last);
    if (fault !== undefined) {
      throw new SshError('krl-unencodable', fault);
    }
    if (typeof entry === 'bigint') {
      single.push(entry);
    } else {
      ranges.push(entry);
    }
  }
  const singles = Array.from(BigUint64Array.from(single).sort(), (serial) => ({
    first: serial,
    last: serial,
  }));
  if (ranges.length === 0) {
    return joinSorted(singles);
  }
  return joinSorted(
    [...singles, ...ranges].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0)),
  );
}

/** Whether sorted, joined ranges hold a serial. Serial 0 is in none. */
export function hasSerial(ranges: readonly SerialRange[], serial: bigint): boolean {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const range = ranges[middle];
    if (range === undefined || serial < range.first) {
      high = middle;
    } else if (serial > range.last) {
      low = middle + 1;
    } else {
      return true;
    }
  }
  return false;
}

/** Divides sorted, joined ranges into the smallest sections. */
export function encodeSerials(ranges: readonly SerialRange[]): SerialSection[] {
  const sections: SerialSection[] = [];
  const plan = planSections(ranges);
  let start = 0;
  while (start < ranges.length) {
    let end = start + 1;
    while (end < ranges.length && plan.startsSection[end] === 0) {
      end++;
    }
    sections.push(encodeSection(plan.kinds[start] ?? 'range', ranges.slice(start, end)));
    start = end;
  }
  return sections;
}

/** Whether a section of a certificate section holds serials. */
export function isSerialSection(type: number): boolean {
  return type === SECTION_LIST || type === SECTION_RANGE || type === SECTION_BITMAP;
}

/**
 * Reads one section of serials and adds its ranges, not yet sorted, to `into`.
 * @throws SshError `krl-malformed` for what `mergeSerials` refuses, a section that is empty or of a wrong length, or a bitmap that is
 * negative, padded, too long or runs past 64 bits; `wire-too-long` beyond two million ranges.
 */
export function decodeSerials(section: SerialSection, into: SerialRange[]): void {
  const { type, data } = section;
  if (type === SECTION_BITMAP) {
    decodeBitmap(data, into);
  } else {
    const unit = type === SECTION_LIST ? 8 : 16;
    if (data.length === 0 || data.length % unit !== 0 || (type === SECTION_RANGE && data.length !== unit)) {
      throw new SshError('krl-malformed', 'revocation list: a section of serial numbers has a wrong length');
    }
    for (let at = 0; at < data.length; at += unit) {
      const first = data.readBigUInt64BE(at);
      addRange(into, first, unit === 8 ? first : data.readBigUInt64BE(at + 8));
    }
  }
}

function faultOfRange(first: bigint, last: bigint): string | undefined {
  if (first < 1n || last > LARGEST_SERIAL) {
    return 'a revoked serial lies between 1 and 2^64-1; OpenSSH cannot revoke serial 0';
  }
  return first > last ? 'a range of revoked serials ends before it begins' : undefined;
}

function addRange(into: SerialRange[], first: bigint, last: bigint): void {
  const fault = faultOfRange(first, last);
  if (fault !== undefined) {
    throw new SshError('krl-malformed', `revocation list: ${fault}`);
  }
  const previous = into.at(-1);
  if (previous !== undefined && previous.last + 1n === first) {
    into[into.length - 1] = { first: previous.first, last };
    return;
  }
  if (into.length >= MOST_RANGES) {
    throw new SshError(
      'wire-too-long',
      `revocation list: more than ${MOST_RANGES} separate ranges of serials`,
    );
  }
  into.push({ first, last });
}

function joinSorted(ranges: readonly SerialRange[]): SerialRange[] {
  const joined: SerialRange[] = [];
  for (const range of ranges) {
    const previous = joined.at(-1);
    if (previous !== undefined && range.first <= previous.last + 1n) {
      if (range.last > previous.last) {
        joined[joined.length - 1] = { first: previous.first, last: range.last };
      }
    } else {
      joined.push(range);
    }
  }
  return joined;
}

/** Bits on the wire: a section's number and length, then what each kind needs before its serials. */
const OPEN_LIST = 40;
const OPEN_BITMAP = 40 + 64 + 32 + 8;
const WHOLE_RANGE = 40 + 128;

interface SectionPlan {
  readonly kinds: SectionKind[];
  /** 1 where a range opens a new section, else 0. */
  readonly startsSection: Uint8Array;
}

/**
 * The shortest path through three states (the section that holds the range at hand is a list, a range, a bitmap). Per range only the
 * cheapest way into each state is kept, so a million ranges take one pass forth and one back.
 */
function planSections(ranges: readonly SerialRange[]): SectionPlan {
  const length = ranges.length;
  const listOpens = new Uint8Array(length);
  const bitmapOpens = new Uint8Array(length);
  const cheapest: SectionKind[] = new Array<SectionKind>(length);
  let before = 0;
  let list = Number.POSITIVE_INFINITY;
  let bitmap = Number.POSITIVE_INFINITY;
  let bitmapFirst = 0n;
  let previousLast = 0n;
  ranges.forEach(({ first, last }, index) => {
    const count = Number(last - first) + 1;

    listOpens[index] = before + OPEN_LIST < list ? 1 : 0;
    list = Math.min(list, before + OPEN_LIST) + 64 * count;

    const grown =
      last - bitmapFirst < BITMAP_MOST_BITS ? bitmap + Number(last - previousLast) : Number.POSITIVE_INFINITY;
    const fresh = count <= BITMAP_MOST_BITS ? before + OPEN_BITMAP + count : Number.POSITIVE_INFINITY;
    if (fresh < grown) {
      bitmapOpens[index] = 1;
      bitmapFirst = first;
    }
    bitmap = Math.min(grown, fresh);

    const range = before + WHOLE_RANGE;
    before = Math.min(list, range, bitmap);
    cheapest[index] = before === range ? 'range' : before === list ? 'list' : 'bitmap';
    previousLast = last;
  });

  const kinds: SectionKind[] = new Array<SectionKind>(length);
  const startsSection = new Uint8Array(length);
  let kind: SectionKind = cheapest[length - 1] ?? 'range';
  for (let index = length - 1; index >= 0; index--) {
    kinds[index] = kind;
    const opens = kind === 'range' || (kind === 'list' ? listOpens : bitmapOpens)[index] === 1;
    startsSection[index] = opens ? 1 : 0;
    if (opens) {
      kind = cheapest[index - 1] ?? 'range';
    }
  }
  return { kinds, startsSection };
}

function encodeSection(kind: SectionKind, ranges: readonly SerialRange[]): SerialSection {
  const first = ranges[0]?.first ?? 0n;
  const last = ranges.at(-1)?.last ?? 0n;
  switch (kind) {
    case 'list': {
      const data = Buffer.alloc(
        8 * ranges.reduce((sum, range) => sum + Number(range.last - range.first) + 1, 0),
      );
      let at = 0;
      for (const range of ranges) {
        for (let serial = range.first; serial <= range.last; serial++) {
          at = data.writeBigUInt64BE(serial, at);
        }
      }
      return { type: SECTION_LIST, data };
    }
    case 'range': {
      const data = Buffer.alloc(16);
      data.writeBigUInt64BE(first, 0);
      data.writeBigUInt64BE(last, 8);
      return { type: SECTION_RANGE, data };
    }
    case 'bitmap':
      return { type: SECTION_BITMAP, data: encodeBitmap(ranges, first, Number(last - first) + 1) };
  }
}

/** uint64 offset, then an mpint whose bit N stands for the serial offset + N; its highest bit is always set, so it is never padded. */
function encodeBitmap(ranges: readonly SerialRange[], offset: bigint, bits: number): Buffer {
  const sign = bits % 8 === 0 ? 1 : 0;
  const data = Buffer.alloc(8 + 4 + sign + Math.ceil(bits / 8));
  data.writeBigUInt64BE(offset, 0);
  data.writeUInt32BE(data.length - 12, 8);
  for (const range of ranges) {
    const end = Number(range.last - offset);
    for (let bit = Number(range.first - offset); bit <= end; bit++) {
      const byte = data.length - 1 - (bit >>> 3);
      data[byte] = (data[byte] ?? 0) | (1 << (bit & 7));
    }
  }
  return data;
}

function decodeBitmap(data: Buffer, into: SerialRange[]): void {
  const bitmap = data.subarray(12);
  if (data.length < 13 || data.readUInt32BE(8) !== bitmap.length) {
    throw new SshError('krl-malformed', 'revocation list: a bitmap of serial numbers has a wrong length');
  }
  const [top = 0, next = 0] = bitmap;
  const magnitude = top === 0 ? bitmap.subarray(1) : bitmap;
  if (top >= 0x80 || (top === 0 && next < 0x80) || magnitude.length * 8 > BITMAP_MOST_BITS) {
    throw new SshError(
      'krl-malformed',
      'revocation list: a bitmap of serial numbers is negative, padded or too long',
    );
  }
  const offset = data.readBigUInt64BE(0);
  const bits = magnitude.length * 8;
  const isSet = (bit: number): boolean =>
    (((magnitude[magnitude.length - 1 - (bit >>> 3)] ?? 0) >>> (bit & 7)) & 1) === 1;
  for (let bit = 0; bit < bits; bit++) {
    if (isSet(bit)) {
      const start = bit;
      while (bit + 1 < bits && isSet(bit + 1)) {
        bit++;
      }
      addRange(into, offset + BigInt(start), offset + BigInt(bit));
    }
  }
}
