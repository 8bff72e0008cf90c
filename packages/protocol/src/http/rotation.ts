/** `/v1/rotation`: whether hosts trust the next CA key, and what depends on a former one (DESIGN.md section 6). */
import { z } from 'zod';
import { hostId, reason, recordReference, time } from './name.ts';

const fingerprint = z.string().regex(/^SHA256:[A-Za-z0-9+/]{43}$/);

const waitingHost = z.strictObject({
  id: hostId,
  root: z.int().meta({ description: 'the version it reported' }),
  seen: time,
});

export const rotationState = z
  .strictObject({
    root: z.int().min(1).meta({ description: 'the version of the newest trust root' }),
    keys: z.array(
      z.strictObject({
        kind: z.enum(['user', 'host']),
        fingerprint,
        state: z.enum(['next', 'signs', 'former']),
        in_use: z.boolean().meta({ description: 'this CA signs with it' }),
        opened: z.boolean().meta({ description: 'the process that answers has its private half' }),
        revoked: z.boolean(),
        since: z.int().min(1).meta({ description: 'the first root of those that name it without a gap' }),
        waiting: z
          .array(waitingHost)
          .meta({ description: 'hosts seen within a day that do not trust it yet' }),
        held_until: time
          .nullable()
          .meta({ description: 'of a former key: when the last certificate of a person ends' }),
        held_by: z
          .array(hostId)
          .meta({ description: 'of a former key: hosts whose certificate is of it still' }),
      }),
    ),
    unseen: z
      .array(hostId)
      .meta({ description: 'enabled hosts that reported nothing within a day; at most 1,000' }),
  })
  .meta({ id: 'Rotation' });

export const activationRequest = z
  .strictObject({
    v: z.literal(1),
    key: fingerprint,
    without: z.array(hostId).max(1_000).meta({ description: 'hosts that are not waited for' }),
    reason,
  })
  .meta({ id: 'RotationActivation' });

export const activationAnswer = z.strictObject({ record: recordReference }).meta({ id: 'ActivatedKey' });

export type RotationState = z.infer<typeof rotationState>;
export type ActivationRequest = z.infer<typeof activationRequest>;
