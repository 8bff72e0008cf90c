/**
 * Ids of grants, runs and sessions (DESIGN.md section 8): 48 bits of milliseconds and 80 random bits as 26 characters,
 * so that the order of the texts is the order of time. Random keys tripled the cost of a write at a million rows.
 */
import { randomBytes } from 'node:crypto';
import { ProtocolError } from './error.ts';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const ID = /^[0-7][0-9abcdefghjkmnpqrstvwxyz]{25}$/;
const RANDOM_BYTES = 10;

/**
 * A new id. `nowMs` is the time in milliseconds since 1970 (48 bits); `random` gives that many random bytes and exists
 * so that a test can fix them.
 */
export function createId(nowMs: number, random: (length: number) => Buffer = randomBytes): string {
  if (!Number.isSafeInteger(nowMs) || nowMs < 0 || nowMs >= 2 ** 48) {
    throw new ProtocolError('id-malformed', `the time ${nowMs} does not fit an id: set the machine's clock`);
  }
  let value = (BigInt(nowMs) << 80n) | BigInt(`0x${random(RANDOM_BYTES).toString('hex')}`);
  let text = '';
  for (let i = 0; i < 26; i++) {
    text = ALPHABET[Number(value & 31n)] + text;
    value >>= 5n;
  }
  return text;
}

/** Whether `text` has the form of an id. */
export function isId(text: string): boolean {
  return ID.test(text);
}

/** The time in milliseconds that an id was made at; throws ProtocolError `id-malformed`. */
export function idTime(id: string): number {
  if (!isId(id)) {
    throw new ProtocolError(
      'id-malformed',
      `${JSON.stringify(id.slice(0, 40))} is not an id of 26 characters`,
    );
  }
  let value = 0n;
  for (const character of id) value = (value << 5n) | BigInt(ALPHABET.indexOf(character));
  return Number(value >> 80n);
}
