/**
 * `GET /v1/trust/root`, `GET /v1/trust/roots/{version}`, `GET /v1/trust/status`, `POST /v1/trust/root`: the documents of
 * `trust.ts` with their detached signatures. A document travels as its exact text: what is verified and kept is the
 * UTF-8 bytes of that string, never the document written anew.
 */
import { z } from 'zod';
import { recordReference, wholeNumber } from './name.ts';

const document = z
  .string()
  .min(2)
  .max(65_536)
  .meta({ description: 'the exact text; hash and verify its UTF-8 bytes' });
const signature = z
  .string()
  .max(16_384)
  .regex(/^-----BEGIN SSH SIGNATURE-----\n[A-Za-z0-9+/=\n]+-----END SSH SIGNATURE-----\n$/)
  .meta({ description: 'SSHSIG in armour, as ssh-keygen -Y sign writes it' });

const rootMembers = {
  document,
  signature: signature.meta({ description: 'by the root key, namespace trust-root@beacon' }),
  handover: signature.optional().meta({
    description:
      'in the first root of a new key: by the key before, namespace trust-handover@beacon, over the line of the new key, a newline and the document',
  }),
};

export const publishedRoot = z.strictObject(rootMembers).meta({ id: 'TrustRoot' });
export const publishedStatus = z
  .strictObject({
    document,
    signature: signature.meta({
      description: 'by the status key that the root names, namespace trust-status@beacon',
    }),
  })
  .meta({ id: 'TrustStatus', description: 'the revocation list it names is at /v1/krl' });

export const rootPublication = z
  .strictObject({
    v: z.literal(1),
    ...rootMembers,
    now: z.boolean().optional().meta({
      description: 'true: CA keys that it leaves out are revoked, whatever depends on them still',
    }),
  })
  .meta({ id: 'TrustRootPublication' });
export const rootPublished = z
  .strictObject({ version: z.int().min(1), record: recordReference })
  .meta({ id: 'PublishedTrustRoot' });
export const rootVersionParams = z.strictObject({ version: wholeNumber(1, Number.MAX_SAFE_INTEGER) });

export type RootPublication = z.infer<typeof rootPublication>;
export type PublishedRoot = z.infer<typeof publishedRoot>;
