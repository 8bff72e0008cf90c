/** The names of DESIGN.md section 8 as schemas. */
import { z } from 'zod';
import { decode32 } from '../arguments-digest.ts';
import { isId } from '../id.ts';
import { isName, type NameKind, nameForms } from '../name.ts';

function named(kind: NameKind, example: string) {
  return z
    .string()
    .max(100)
    .refine((text) => isName(kind, text), `not ${nameForms[kind]}`)
    .meta({ description: nameForms[kind], example });
}

export const hostId = named('host', 'build-01');
export const login = named('login', 'deploy');
export const command = named('command', 'runner.install');
export const parameter = named('parameter', 'name');
export const person = named('person', 'github:583231');
export const service = named('service', 'portal');

export const id = z.string().refine(isId, 'not an id of 26 characters').meta({
  description: '26 characters; the order of ids is the order of time',
  example: '01jd8z0000abcdefghjkmnpqrs',
});

/** 32 bytes as base64url without padding, in the one spelling that encoding them gives. */
export const bytes32 = z
  .string()
  .refine((text) => decode32(text) !== undefined, 'not 32 bytes in base64url without padding')
  .meta({
    description: '32 bytes, base64url without padding',
    example: 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
  });

/** A certificate's serial: 1 to 2^64 - 1 as a decimal string, since JSON readers round large numbers. */
export const serial = z
  .string()
  .refine(
    (text) => /^[1-9][0-9]{0,19}$/.test(text) && BigInt(text) < 2n ** 64n,
    'not a serial from 1 to 2^64 - 1',
  )
  .meta({ description: '1 to 2^64 - 1 as a decimal string', example: '42' });

/** UTC with milliseconds. */
export const time = z.iso.datetime({ precision: 3 }).meta({ example: '2026-11-22T07:30:00.000Z' });

/** A reason that a person wrote: one line that is kept in the record. */
export const reason = z
  .string()
  .min(1)
  .max(200)
  .refine((text) => !/\p{Cc}/u.test(text), 'a reason is one line')
  .meta({ description: 'one line, kept in the record', example: 'laptop lost' });

/** One OpenSSH public key line, `<type> <base64>` and perhaps a comment. */
export const publicKeyLine = z
  .string()
  .min(20)
  .max(4096)
  .refine((text) => !/[\p{Cc}]/u.test(text), 'a public key is one line')
  .meta({
    description: 'one line: type, base64, perhaps a comment',
    example: 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…',
  });

/** Where a record stands: its place in the chain and its hash. A caller that keeps it holds an anchor of the chain. */
export const recordReference = z
  .strictObject({ seq: z.int().min(1), hash: z.string().regex(/^[0-9a-f]{64}$/) })
  .meta({ id: 'RecordReference', description: 'the record that was durable before this answer was given' });

/** A whole number in a query, in its one spelling: an empty text is no zero, and `0x10` no sixteen. */
export function wholeNumber(least: number, most: number) {
  return z.preprocess(
    (text) => (typeof text === 'string' && /^(0|[1-9][0-9]{0,15})$/.test(text) ? Number(text) : text),
    z.int().min(least).max(most),
  );
}

/** Page size for lists. */
export const limit = wholeNumber(1, 500).default(100).meta({ example: 100 });

/** What stands in a path. */
export const serialParams = z.strictObject({ serial });
export const hostParams = z.strictObject({ id: hostId });
export const personParams = z.strictObject({ person });
export const sessionParams = z.strictObject({ id });
