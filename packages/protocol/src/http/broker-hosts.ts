/**
 * What a broker says of itself, of the hosts that a person may use, and of what can be asked of them there: commands and
 * procedures, each with whether it is allowed and why not (DESIGN.md section 3).
 */
import { z } from 'zod';
import { command, hostId, login, parameter, service } from './name.ts';
import { procedureName } from './runs.ts';

/** `GET /.well-known/beacon`: which service this broker is, and whose tokens it takes. */
export const brokerFacts = z
  .strictObject({
    v: z.literal(1),
    service,
    ca: z.string().meta({ description: "the CA's public URL", example: 'https://ca.example.org' }),
  })
  .meta({ id: 'Broker' });

export const brokerHost = z
  .strictObject({
    id: hostId,
    state: z.enum(['enabled', 'disabled']),
    logins: z.array(login),
    labels: z.record(z.string(), z.string()),
    pools: z.array(z.string()),
  })
  .meta({ id: 'UsableHost' });

export const brokerHostList = z.strictObject({ hosts: z.array(brokerHost) }).meta({ id: 'UsableHosts' });

const allowed = z
  .enum(['yes', 'no', 'depends'])
  .meta({ description: '`depends`: on the values of the parameters, which are known when it is asked for' });
const reason = z.strictObject({ code: z.string(), text: z.string() });

export const offeredCommand = z
  .strictObject({
    command,
    summary: z.string(),
    login,
    params: z.record(
      parameter,
      z.strictObject({
        pattern: z.string().meta({ description: 'the whole value must match' }),
        secret: z.boolean().optional(),
      }),
    ),
    undo: command.optional(),
    timeout_seconds: z.int().optional(),
    offered: z
      .enum(['host', 'inventory'])
      .meta({ description: '`host`: its own list, as it last reported; `inventory`: what the CA was told' }),
    allowed,
    reason,
    missing: z
      .array(z.record(z.string(), z.unknown()))
      .meta({ description: 'what one change would have allowed it' }),
  })
  .meta({ id: 'OfferedCommand' });

const procedureParameter = z.strictObject({
  pattern: z.string().optional(),
  summary: z.string().optional(),
  required: z.boolean(),
  secret: z.boolean().optional(),
});

export const procedure = z
  .strictObject({
    name: procedureName,
    summary: z.string(),
    params: z.record(parameter, procedureParameter),
    steps: z.array(command).meta({ description: 'its commands, in order' }),
  })
  .meta({ id: 'Procedure' });

export const procedureList = z.strictObject({ procedures: z.array(procedure) }).meta({ id: 'Procedures' });

export const offeredProcedure = procedure
  .extend({ allowed, reason: reason.optional() })
  .meta({ id: 'OfferedProcedure' });

export const brokerHostDetail = z
  .strictObject({
    host: brokerHost,
    commands: z.array(offeredCommand),
    procedures: z.array(offeredProcedure),
  })
  .meta({ id: 'UsableHostDetail' });

/** Who the broker takes the caller for. */
export const brokerCaller = z
  .strictObject({
    person: z.string().meta({ example: 'github:583231' }),
    name: z.string().optional().meta({ description: 'the login name at the provider; only shown' }),
    service,
    client: service.optional().meta({ description: 'the client that asks; absent: the portal' }),
  })
  .meta({ id: 'BrokerCaller' });

export type BrokerHost = z.infer<typeof brokerHost>;
export type OfferedCommand = z.infer<typeof offeredCommand>;
export type OfferedProcedure = z.infer<typeof offeredProcedure>;
export type ProcedureEntry = z.infer<typeof procedure>;
