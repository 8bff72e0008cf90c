/** `/v1/persons` and `/v1/sessions`: who may ask, and their logins at the CA. */
import { z } from 'zod';
import { id, person, reason, recordReference, service, time } from './name.ts';

export const personChange = z.strictObject({ v: z.literal(1), reason }).meta({ id: 'PersonChange' });
export const personChanged = z
  .strictObject({
    person,
    state: z.enum(['enabled', 'disabled']),
    sessions_ended: z.int(),
    record: recordReference,
  })
  .meta({ id: 'ChangedPerson' });
export const disabledPersons = z
  .strictObject({
    disabled: z.array(z.strictObject({ person, since: time, by: person, reason: z.string() })),
  })
  .meta({ id: 'DisabledPersons' });

export const session = z
  .strictObject({
    id,
    person,
    name: z
      .string()
      .meta({ description: 'the login name at the provider, only shown; a person is their numeric id' }),
    client: service,
    started_at: time,
    ends_at: time,
    current: z.boolean(),
  })
  .meta({ id: 'Session' });

export const sessionQuery = z.strictObject({ person: person.optional() });
export const sessionList = z.strictObject({ sessions: z.array(session) }).meta({ id: 'Sessions' });
export const sessionEnded = z
  .strictObject({ session: id, record: recordReference })
  .meta({ id: 'EndedSession' });

const unknownMembership = z.strictObject({ id: z.string(), name: z.string().optional(), why: z.string() });

/** Who the CA takes the caller for, and what it knows of their memberships among those that policies name. */
export const whoami = z
  .strictObject({
    session,
    service,
    memberships: z.strictObject({
      read_at: time,
      organizations: z.array(z.string()),
      teams: z.array(z.string()),
      unknown: z.array(unknownMembership),
    }),
  })
  .meta({ id: 'Whoami' });

export type SessionEntry = z.infer<typeof session>;
export type Whoami = z.infer<typeof whoami>;
