/**
 * One verdict per file for `certificate show` and `revocations show`: its content, or the code of the check that refused
 * it. All files are looked at; the exit status is not 0 when one of them was refused.
 */
import { Buffer } from 'node:buffer';
import { open } from 'node:fs/promises';
import { SshError } from '@beacon/ssh/error';
import type { Context } from './context.ts';
import { reason } from './private-file.ts';

export interface ShowFormat {
  /** The file's content as a value for JSON and as one line; throws SshError when it is refused. */
  readonly read: (bytes: Buffer) => { readonly json: object; readonly line: string };
  readonly maxBytes: number;
}

const REFUSED = 64;

/** Prints a verdict per file, in order; `-` is stdin. */
export async function showFiles(
  context: Context,
  files: readonly string[],
  format: ShowFormat,
  options: { readonly json: boolean },
): Promise<number> {
  let status = 0;
  for (const file of files) {
    const verdict = await judge(file, format);
    if (!verdict.ok) status = REFUSED;
    if (options.json) context.terminal.json(verdict.json);
    else context.terminal.out(verdict.line);
  }
  return status;
}

interface Verdict {
  readonly ok: boolean;
  readonly json: object;
  readonly line: string;
}

async function judge(file: string, { read, maxBytes }: ShowFormat): Promise<Verdict> {
  const refused = (code: string, text: string): Verdict => ({
    ok: false,
    json: { file, ok: false, code, reason: text },
    line: `${file}: refused (${code}): ${text}`,
  });
  let bytes: Buffer | undefined;
  try {
    bytes = await readBounded(file, maxBytes);
  } catch (error) {
    return refused('file-unreadable', `it cannot be read: ${reason(error)}`);
  }
  if (bytes === undefined) return refused('wire-too-long', `it is longer than ${maxBytes} bytes`);
  try {
    const { json, line } = read(bytes);
    return { ok: true, json: { file, ok: true, ...json }, line: `${file}: ${line}` };
  } catch (error) {
    if (error instanceof SshError) return refused(error.code, error.message);
    throw error;
  }
}

/** Everything, or undefined when it is more than `maxBytes`. */
async function readBounded(file: string, maxBytes: number): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  let length = 0;
  const handle = file === '-' ? undefined : await open(file, 'r');
  const stream = handle?.createReadStream({ end: maxBytes }) ?? process.stdin;
  for await (const part of stream) {
    const bytes = Buffer.from(part as Uint8Array);
    length += bytes.length;
    if (length > maxBytes) return undefined;
    parts.push(bytes);
  }
  return Buffer.concat(parts);
}
