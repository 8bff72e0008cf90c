/** What every command is given from outside, so that it can be run anywhere. */
import { type CaApi, type Credentials, createCaApi, openSession } from '@beacon/client';
import { CliError } from './error.ts';
import type { Place } from './place.ts';
import { openSessionFile } from './session-file.ts';
import type { Terminal } from './terminal.ts';

export interface Context {
  readonly terminal: Terminal;
  readonly place: Place;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly now: () => Date;
}

/** The CA's API as the logged-in person. Throws ClientError `session-missing`. */
export async function openCa(
  context: Context,
): Promise<{ readonly api: CaApi; readonly credentials: Credentials }> {
  requirePosix();
  const credentials = await openSession(openSessionFile(context.place.stateDirectory));
  return { api: createCaApi(credentials), credentials };
}

/** File modes and sockets mean nothing on Windows; its Linux does it all. */
export function requirePosix(platform: NodeJS.Platform = process.platform): void {
  if (platform !== 'win32') return;
  throw new CliError(
    'not-supported-here',
    'unavailable',
    'beacon does not run on Windows itself: use it inside WSL (wsl --install), where your ssh runs as well',
  );
}
