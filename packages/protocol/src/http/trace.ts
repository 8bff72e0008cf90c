/**
 * `GET /v1/runs/{id}/trace` and `GET /v1/trace/{grant}` of a broker: the records of broker, CA and host about the same
 * thing, in the order of their times, and what does not match (DESIGN.md section 8).
 */
import { z } from 'zod';
import { hostId, id, time } from './name.ts';

export const traceParams = z.strictObject({ grant: id });

export const traceLine = z
  .strictObject({
    chain: z.enum(['broker', 'ca', 'host']),
    host: hostId.optional(),
    seq: z.int().min(1),
    time,
    kind: z.string(),
    grant: id.optional(),
    line: z.string().meta({ description: 'the exact line, without its newline: hash it as it is' }),
  })
  .meta({ id: 'TraceLine' });

export const traceFinding = z
  .strictObject({
    code: z.string().meta({ example: 'certificate-never-issued' }),
    text: z.string().meta({ description: 'what does not match' }),
    grant: id.optional(),
  })
  .meta({ id: 'TraceFinding' });

export const trace = z
  .strictObject({
    run: id.optional(),
    grants: z.array(id),
    lines: z.array(traceLine),
    missing: z
      .array(z.strictObject({ chain: z.enum(['broker', 'ca', 'host']), reason: z.string() }))
      .meta({ description: 'whose records could not be read now, and why' }),
    findings: z.array(traceFinding),
  })
  .meta({ id: 'Trace' });

export type Trace = z.infer<typeof trace>;
export type TraceLine = z.infer<typeof traceLine>;
export type TraceFinding = z.infer<typeof traceFinding>;
