/** Where `beacon ssh-config` keeps keys and certificates of minutes' life, and how they go. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';

/** One directory per login on a host, and its ssh configuration beside it. */
export function personalDirectory(stateDirectory: string): string {
  return join(stateDirectory, 'ssh');
}

/** Removes them all; they could be used for minutes yet. */
export async function removePersonalCertificates(stateDirectory: string): Promise<void> {
  await rm(personalDirectory(stateDirectory), { recursive: true, force: true });
}
