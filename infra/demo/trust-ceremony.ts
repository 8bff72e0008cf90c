/**
 * What an operator does before hosts can enrol (docs/trust.md): an offline root key, its public half at the CA, and a trust
 * root that is drafted at the CA, signed offline and published by an administrator.
 */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Outcome, Stage } from './stage.ts';

/** Before the CA is served: makes the root key and names it in the configuration. */
export async function makeRootKey(caFolder: string, stage: Stage): Promise<void> {
  mkdirSync(offline(stage), { mode: 0o700 });
  succeed(await stage.beacon('operator', ['ca', 'root', 'init', rootKey(stage)]));
  copyFileSync(`${rootKey(stage)}.pub`, join(caFolder, 'trust_root.pub'));
  const text = readFileSync(stage.caConfiguration, 'utf8');
  writeFileSync(stage.caConfiguration, text.replace('  # trust_root: ', '  trust_root: '));
}

/** Drafts, signs and publishes the next root; the administrator is logged in. */
export async function publishRoot(
  stage: Stage,
  administrator: string,
  draft: readonly string[] = [],
): Promise<void> {
  const file = join(stage.folder, 'root.json');
  const at = ['--config', stage.caConfiguration];
  succeed(await stage.beacon('operator', ['ca', 'root', 'draft', ...at, '--out', file, ...draft]));
  await publishDrafted(stage, administrator, file);
}

/** Signs and publishes a root that was drafted. */
export async function publishDrafted(stage: Stage, administrator: string, file: string): Promise<void> {
  succeed(await stage.beacon('operator', ['ca', 'root', 'sign', file, '--key', rootKey(stage)]));
  succeed(await stage.beacon(administrator, ['ca', 'root', 'publish', file]));
}

export function succeed({ status, stdout, stderr }: Outcome): string {
  if (status !== 0) throw new Error(`it ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}

function offline(stage: Stage): string {
  return join(stage.folder, 'offline');
}

function rootKey(stage: Stage): string {
  return join(offline(stage), 'root_key');
}
