/**
 * Secret parameters of a run: from a file, asked for on the terminal, or a line of stdin each. Never an argument, which
 * everybody on the machine can read, and never the environment.
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { isName, nameForms } from '@beacon/protocol/name';
import { CliError, usageError } from './error.ts';
import { reason } from './private-file.ts';

export interface SecretOptions {
  /** Names whose values are asked for. */
  readonly secret: readonly string[];
  /** `NAME=FILE` each. */
  readonly secretFile: readonly string[];
}

/** What one value may have at most; the gate takes no more. */
const MAX_BYTES = 8192;

/** The values by name; undefined where none was named. Throws CliError. */
export async function readSecrets({
  secret,
  secretFile,
}: SecretOptions): Promise<Readonly<Record<string, string>> | undefined> {
  const files = secretFile.map((text) => {
    const [, name = '', file] = /^([^=]*)=(.+)$/.exec(text) ?? [];
    if (file === undefined) throw usageError(`${JSON.stringify(text)}: --secret-file takes NAME=FILE`);
    return { name, file };
  });
  const names = [...files.map(({ name }) => name), ...secret];
  for (const [at, name] of names.entries()) {
    if (!isName('parameter', name)) throw usageError(`${JSON.stringify(name)} is not ${nameForms.parameter}`);
    if (names.indexOf(name) !== at) throw usageError(`the secret ${name} is named twice`);
  }
  if (names.length === 0) return undefined;
  const values: Record<string, string> = {};
  for (const { name, file } of files) values[name] = await readSecretFile(file);
  if (secret.length > 0) Object.assign(values, await askSecrets(secret));
  return values;
}

/** The file's text without the newline at its end. */
async function readSecretFile(file: string): Promise<string> {
  let bytes: Buffer;
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      bytes = Buffer.alloc(MAX_BYTES + 2);
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, null);
      bytes = bytes.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw new CliError('file-unreadable', 'not-found', `${file} cannot be read: ${reason(error)}`, {
      cause: error,
    });
  }
  return checked(bytes.toString('utf8').replace(/\r?\n$/, ''), file);
}

async function askSecrets(names: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const values: Record<string, string> = {};
  if (process.stdin.isTTY !== true) {
    const lines = createInterface({ input: process.stdin, terminal: false })[Symbol.asyncIterator]();
    for (const name of names) {
      const { value, done } = await lines.next();
      if (done === true) throw usageError(`stdin has no line for the secret ${name}: give one line for each`);
      values[name] = checked(String(value), 'stdin');
    }
    process.stdin.destroy();
    return values;
  }
  const { isCancel, password } = await import('@clack/prompts');
  for (const name of names) {
    const answer = await password({ message: `Value of ${name}`, output: process.stderr });
    if (isCancel(answer)) throw new CliError('stopped', 'invalid', `stopped: no value was given for ${name}`);
    values[name] = checked(answer ?? '', 'what was typed');
  }
  return values;
}

function checked(value: string, where: string): string {
  if (value === '')
    throw new CliError('file-malformed', 'invalid', `${where} is empty: a secret has a value`);
  if (Buffer.byteLength(value) > MAX_BYTES || /[\0\ufffd]/.test(value)) {
    throw new CliError(
      'file-malformed',
      'invalid',
      `${where} is no secret that a command can take: UTF-8 of at most ${MAX_BYTES} bytes`,
    );
  }
  return value;
}
