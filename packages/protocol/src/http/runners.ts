/**
 * `GET /v1/places` and `GET /v1/runners` of a broker: where a person may add runners at GitHub, and what is really there,
 * at GitHub and on the hosts. Both need the person's token at GitHub, which the CA gives for a host on which policy lets
 * them configure a runner; so both name that host.
 */
import { z } from 'zod';
import { RUNNER_FINDINGS } from '../run-words.ts';
import { hostId, id } from './name.ts';

export const runnerScope = z
  .string()
  .min(1)
  .max(140)
  .regex(/^[A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+)?$/, 'OWNER/REPOSITORY or ORGANIZATION')
  .meta({ description: 'OWNER/REPOSITORY or ORGANIZATION', example: 'example/widgets' });

export const placeQuery = z.strictObject({ host: hostId });

export const place = z
  .strictObject({
    scope: runnerScope,
    kind: z.enum(['repository', 'organization']),
    may_add: z.boolean(),
    reason: z.string().optional().meta({ description: 'why not, and whom to ask' }),
    is_public: z
      .boolean()
      .meta({ description: 'a runner of a public repository runs what strangers propose' }),
  })
  .meta({ id: 'RunnerPlace' });

export const placeList = z.strictObject({ places: z.array(place) }).meta({ id: 'RunnerPlaces' });

export const runnerQuery = z.strictObject({ host: hostId, scope: runnerScope });

export const runner = z
  .strictObject({
    name: z.string(),
    host: hostId.optional(),
    scope: z.string().optional(),
    run: id.optional().meta({ description: 'the run that made it' }),
    github: z
      .strictObject({
        id: z.int(),
        status: z.enum(['online', 'offline']),
        busy: z.boolean(),
        labels: z.array(z.string()),
        ephemeral: z.boolean().optional(),
        version: z.string().optional(),
      })
      .optional()
      .meta({ description: 'as GitHub sees it; absent: GitHub does not know it' }),
    finding: z
      .enum(RUNNER_FINDINGS)
      .meta({ description: 'how it really is, of what GitHub lists, what hosts say and what runs made' }),
    detail: z.string().optional().meta({ description: 'what to do about it' }),
  })
  .meta({ id: 'Runner' });

export const runnerList = z.strictObject({ runners: z.array(runner) }).meta({ id: 'Runners' });

export type RunnerPlace = z.infer<typeof place>;
export type RunnerEntry = z.infer<typeof runner>;
