/** `POST /v1/heads`: how far the records of a service go, and those of hosts as it saw them (DESIGN.md section 3.9). */
import { z } from 'zod';
import { hostId } from './name.ts';

export const chainHead = z.strictObject({ seq: z.int().min(0), hash: z.string().regex(/^[0-9a-f]{64}$/) });
const begun = chainHead.extend({ seq: z.int().min(1) });

export const headsRequest = z
  .strictObject({
    v: z.literal(1),
    chain: z.literal('broker'),
    head: begun.meta({ description: "of the service's own records" }),
    hosts: z
      .array(z.strictObject({ host: hostId, head: begun }))
      .max(256)
      .meta({
        description: 'of hosts that the person had a grant for by this service, as their gates told them',
      }),
  })
  .meta({ id: 'HeadsRequest' });

export const headsAnswer = z.strictObject({ head: chainHead }).meta({ id: 'TakenHead' });

export type HeadsRequest = z.infer<typeof headsRequest>;
export type HeadsAnswer = z.infer<typeof headsAnswer>;
