/** `GET /v1/hosts/{id}/commands`: what a host offers, in the words of its allowlist, and what of it the caller may run. */
import { z } from 'zod';
import { missing } from './certificates.ts';
import { command, login, parameter } from './name.ts';

export const hostCommand = z
  .strictObject({
    command,
    summary: z.string(),
    login: login.meta({ description: 'the one to ask for' }),
    params: z.record(parameter, z.strictObject({ pattern: z.string(), secret: z.boolean().optional() })),
    undo: command.optional().meta({ description: 'the command that takes it back' }),
    timeout_seconds: z
      .int()
      .optional()
      .meta({ description: 'as the host says; absent where it has said nothing' }),
    offered: z.enum(['host', 'inventory']).meta({
      description: "by whose word: the allowlist that the host reported, else the CA's inventory",
    }),
    allowed: z.enum(['yes', 'no', 'depends']).meta({ description: 'depends: on the parameters' }),
    reason: z.strictObject({ code: z.string(), text: z.string() }),
    missing: z.array(missing).meta({ description: 'what one change would allow it' }),
  })
  .meta({ id: 'HostCommand' });

export const hostCommands = z.strictObject({ commands: z.array(hostCommand) }).meta({ id: 'HostCommands' });

export type HostCommand = z.infer<typeof hostCommand>;
export type HostCommands = z.infer<typeof hostCommands>;
