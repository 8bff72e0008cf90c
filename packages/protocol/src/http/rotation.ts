/** `/v1/rotation`: whether hosts trust a further CA key already, before it is taken into use (DESIGN.md section 6). */
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
        in_use: z.boolean().meta({ description: 'this CA signs with it' }),
        since: z.int().min(1).meta({ description: 'the first root of those that name it without a gap' }),
        waiting: z
          .array(waitingHost)
          .meta({ description: 'hosts seen within a day that do not trust it yet' }),
      }),
    ),
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
