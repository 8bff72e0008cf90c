/**
 * `/v1/runs` of a broker (DESIGN.md section 3): what a run is asked for with, how it stands, and the entries that its
 * watchers see. A secret travels in a request alone and stands in no answer.
 */
import { z } from 'zod';
import { RUN_PHASES, RUN_WISHES, STEP_OUTCOMES } from '../run-words.ts';
import { command, hostId, id, limit, login, parameter, person, service, time, wholeNumber } from './name.ts';

/** What the gate takes of one value at most, less what stands around it in a line. */
const MAX_VALUE = 8192;

const value = z
  .string()
  .max(MAX_VALUE)
  .refine((text) => !text.includes('\0'), 'a value has no NUL in it');

const values = z
  .record(parameter, value)
  .refine((all) => Object.keys(all).length <= 32, 'at most 32 parameters')
  .meta({ description: 'parameters by name; values are strings', example: { name: 'r1' } });

const secrets = values.meta({
  description: 'secret parameters by name; they are kept in memory until they are used, and nowhere else',
});

export const procedureName = command.meta({
  description: 'a procedure: lower-case words joined by dots',
  example: 'runner.provision',
});

export const runRequest = z
  .strictObject({
    v: z.literal(1),
    host: hostId,
    login: login.optional().meta({ description: "the one that the host's command names when absent" }),
    command: command.optional(),
    procedure: procedureName.optional(),
    params: values,
    secrets: secrets.optional(),
  })
  .refine(
    ({ command: one, procedure: many }) => (one === undefined) !== (many === undefined),
    'either command or procedure',
  )
  .meta({ id: 'RunRequest', description: 'one command of the host, or one procedure' });

/** `resume` and `retry` may need the secrets again: nothing was kept of them. */
export const runChange = z
  .strictObject({ v: z.literal(1), secrets: secrets.optional() })
  .meta({ id: 'RunChange' });

/** What a person may press; `cancel`, `look` and `undo` take no secrets. */
export const runWish = z.strictObject({ v: z.literal(1) }).meta({ id: 'RunWish' });

const phase = z.enum(RUN_PHASES);

export const runStep = z
  .strictObject({
    command,
    outcome: z.enum(STEP_OUTCOMES),
    preparation: z
      .enum(['none', 'register', 'drain', 'online'])
      .meta({ description: 'what is done at GitHub right before it' }),
    grant: id.optional().meta({ description: 'under which it was last asked for' }),
  })
  .meta({ id: 'RunStep' });

export const run = z
  .strictObject({
    id,
    person,
    service: service.optional().meta({ description: 'the client that asked; absent: the portal' }),
    host: hostId,
    login,
    kind: z.enum(['command', 'procedure']),
    title: z.string().meta({ description: 'the name of the command or procedure' }),
    params: values,
    phase,
    attempt: z.int().min(1),
    steps: z.array(runStep),
    end: z
      .strictObject({
        how: z.enum(['failed', 'cancelled', 'denied', 'interrupted']),
        reason: z.string().meta({ description: 'for the person' }),
      })
      .optional(),
    github: z
      .strictObject({
        scope: z.string().meta({ example: 'owner/repository' }),
        runner: z.string().meta({ description: 'the name that the runner was meant to have' }),
        state: z.enum(['nothing', 'intended', 'kept', 'removed', 'left']),
      })
      .optional(),
    left: z.array(z.string()).meta({ description: 'what is left behind, by name, and what to do about it' }),
    created: time,
    updated: time,
    retry_of: id.optional(),
    possible: z.array(z.enum(RUN_WISHES)).meta({ description: 'what the person may press now' }),
    last_event: z.int().min(0).meta({ description: 'the number of the last event so far' }),
  })
  .meta({ id: 'Run' });

export const runQuery = z.strictObject({
  host: hostId.optional(),
  phase: phase.optional(),
  person: person.optional().meta({ description: "one's own id; others' runs are not shown" }),
  before: id.optional().meta({ description: 'only runs older than this one: the next page' }),
  limit,
});

export const runList = z.strictObject({ runs: z.array(run) }).meta({ id: 'Runs' });

export const runParams = z.strictObject({ id });

export const runEventQuery = z.strictObject({
  after: wholeNumber(0, Number.MAX_SAFE_INTEGER)
    .optional()
    .meta({ description: 'only events behind this one; the header last-event-id says the same' }),
});

/** The header of `POST /v1/runs` under which the same wish is the same run. */
export const IDEMPOTENCY_HEADER = 'idempotency-key';
export const runHeaders = z.object({
  [IDEMPOTENCY_HEADER]: z
    .string()
    .regex(/^[\x21-\x7e]{1,128}$/, '1 to 128 visible characters')
    .meta({
      description:
        'made anew for each run that is wanted; said again with the same request, it answers the same run',
    }),
});
/** What a reader of events has seen last, when it comes again (HTML, section 9.2.4). */
export const runEventHeaders = z.object({
  'last-event-id': z
    .string()
    .regex(/^(0|[1-9][0-9]{0,15})$/, 'the number of an event')
    .optional(),
});
/** How often a stream without news says that it is alive. */
export const HEARTBEAT_SECONDS = 15;

export type RunRequest = z.infer<typeof runRequest>;
export type RunChange = z.infer<typeof runChange>;
export type RunEntry = z.infer<typeof run>;
