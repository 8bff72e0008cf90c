/** `GET /v1/hosts/{id}/commands`: what a host offers, in the words of its allowlist, and what of it the caller may run. */
import { z } from 'zod';
import { isName } from '../name.ts';
import { missing } from './certificates.ts';
import { command, login, parameter } from './name.ts';

const MOST_NAMED = 64;

/** `only` keeps an answer to few of many commands, each of which policy is asked about, short. */
export const hostCommandsQuery = z.strictObject({
  only: z
    .string()
    .max(MOST_NAMED * 101)
    .refine((text) => {
      const names = text.split(',');
      return names.length <= MOST_NAMED && names.every((name) => isName('command', name));
    }, `not at most ${MOST_NAMED} names of commands, with commas between them`)
    .optional()
    .meta({
      description:
        'names of commands, with commas between them: those of them that the host offers, and what takes them back',
      example: 'runner.install,runner.remove',
    }),
});

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
