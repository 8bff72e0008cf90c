/** `GET /v1/records`, `GET /v1/checkpoint`, `GET /v1/ca-keys` (DESIGN.md section 8). */
import { z } from 'zod';
import { hostId, id, limit, person, wholeNumber } from './name.ts';

export const recordQuery = z.strictObject({
  after: wholeNumber(0, Number.MAX_SAFE_INTEGER)
    .default(0)
    .meta({ description: 'only records behind this one' }),
  limit,
  person: person.optional(),
  host: hostId.optional(),
  grant: id.optional(),
});

export const recordList = z
  .strictObject({
    records: z
      .array(z.string())
      .meta({ description: 'the exact lines, without newlines: hash them as they are' }),
    head: z.strictObject({ seq: z.int().min(0), hash: z.string() }),
  })
  .meta({ id: 'Records' });

export const checkpointAnswer = z
  .strictObject({
    checkpoint: z
      .string()
      .meta({ description: 'compact JWS, typ beacon-checkpoint+jwt, by a key of the JWKS' }),
  })
  .meta({ id: 'SignedCheckpoint' });

const authorityKey = z.strictObject({
  public_key: z.string(),
  fingerprint: z.string(),
  state: z.enum(['active', 'revoked']),
});

export const authorityKeys = z
  .strictObject({ user: z.array(authorityKey), host: z.array(authorityKey) })
  .meta({ id: 'AuthorityKeys' });

export type RecordList = z.infer<typeof recordList>;
export type AuthorityKeys = z.infer<typeof authorityKeys>;
