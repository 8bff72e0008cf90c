/** `POST /v1/revocations` and `GET /v1/krl`. */
import { z } from 'zod';
import { id, person, publicKeyLine, reason, recordReference, serial } from './name.ts';

const why = {
  v: z.literal(1),
  reason,
  halt: z.boolean().optional().meta({ description: "also stop the undo of these grants' commands on hosts" }),
};
const fingerprint = z.string().regex(/^SHA256:[A-Za-z0-9+/]{43}$/);

export const revocationRequest = z
  .discriminatedUnion('by', [
    z.strictObject({ by: z.literal('serial'), value: serial, ...why }),
    z.strictObject({ by: z.literal('grant'), value: id, ...why }),
    z.strictObject({ by: z.literal('person'), value: person, ...why }),
    z.strictObject({ by: z.literal('public_key'), value: z.union([publicKeyLine, fingerprint]), ...why }),
    z.strictObject({ by: z.literal('ca_key'), value: z.union([publicKeyLine, fingerprint]), ...why }),
  ])
  .meta({ id: 'RevocationRequest' });

export const revocationAnswer = z
  .strictObject({
    revoked: z
      .array(serial)
      .meta({ description: 'what is newly revoked: certificates that had not expired' }),
    already: z.int().meta({ description: 'how many more that matched were revoked before' }),
    sessions_ended: z.int(),
    record: recordReference,
  })
  .meta({ id: 'Revocation' });

export type RevocationRequest = z.infer<typeof revocationRequest>;
export type RevocationAnswer = z.infer<typeof revocationAnswer>;
