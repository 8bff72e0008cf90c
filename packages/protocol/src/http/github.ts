/** `POST /v1/github-token`: the person's GitHub token for a service that makes runners for them (DESIGN.md section 3.1). */
import { z } from 'zod';
import { command, hostId, id, recordReference } from './name.ts';

export const githubTokenRequest = z
  .union([
    z.strictObject({
      v: z.literal(1),
      grant: id.meta({ description: 'of a run: issued to this person, this service, this session' }),
    }),
    z.strictObject({
      v: z.literal(1),
      host: hostId,
      command: command.meta({ description: 'one that policy may let the person run there' }),
    }),
  ])
  .meta({ id: 'GitHubTokenRequest' });

export const githubTokenAnswer = z
  .strictObject({
    token: z.string().meta({ description: 'to be kept in memory alone, and forgotten with the run' }),
    record: recordReference,
  })
  .meta({ id: 'GitHubToken' });

export type GitHubTokenRequest = z.infer<typeof githubTokenRequest>;
export type GitHubTokenAnswer = z.infer<typeof githubTokenAnswer>;
