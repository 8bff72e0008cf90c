/** `beacon ca root publish`: gives the CA a trust root that the offline key has signed. The CA says whether it holds. */
import { readFile } from 'node:fs/promises';
import type { PublishedRoot } from '@beacon/protocol/http/trust';
import { type Context, openCa } from './context.ts';
import { CliError } from './error.ts';
import { reason } from './private-file.ts';

export interface PublishOptions {
  readonly now: boolean;
  readonly json: boolean;
}

/** Sends the exact text of `file` with its signatures. Throws CliError `file-unreadable`, or what the CA answers. */
export async function publishTrustRoot(
  context: Context,
  file: string,
  options: PublishOptions,
): Promise<number> {
  const handover = await readIfThere(`${file}.handover`);
  const root: PublishedRoot = {
    document: await readText(file),
    signature: await readText(`${file}.sig`),
    ...(handover === undefined ? {} : { handover }),
  };
  const { api } = await openCa(context);
  const version = await api.publishTrustRoot(options.now ? { ...root, now: true } : root);
  if (options.json) context.terminal.json({ version });
  else context.terminal.out(`Trust root ${version} is published.`);
  return 0;
}

async function readText(file: string): Promise<string> {
  const text = await readIfThere(file);
  if (text === undefined)
    throw new CliError(
      'file-unreadable',
      'not-found',
      `there is no ${file}: sign it with \`beacon ca root sign\``,
    );
  return text;
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(file));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new CliError('file-unreadable', 'not-found', `${file} cannot be read: ${reason(error)}`, {
      cause: error,
    });
  }
}
