/**
 * The person's `config.yaml`: which CA `beacon login` goes to, and which broker runs are asked of. Strict: an unknown key is
 * refused with its line and the nearest known key. The CA that a login was made with stands in the session, so only
 * `login` reads `ca`.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { didYouMean } from '@beacon/protocol/nearest';
import { isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import { CliError } from './error.ts';
import { isSystemError, reason, writePrivateFile } from './private-file.ts';

export interface Configuration {
  readonly ca?: string;
  readonly broker?: string;
}

const KEYS = ['ca', 'broker'] as const;
type Key = (typeof KEYS)[number];
const MAX_CHARACTERS = 64 * 1024;

/** What the file says; nothing when it is missing. Throws CliError `configuration` with file and line. */
export async function readConfiguration(file: string): Promise<Configuration> {
  const text = await readText(file);
  if (text === undefined) return {};
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    schema: 'core',
    customTags: [],
  });
  const refuse = (offset: number, what: string) =>
    new CliError('configuration', 'invalid', `${file}:${lines.linePos(offset).line}: ${what}`);
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined)
    throw refuse(problem.pos[0], problem.message.split('\n')[0]?.replace(/ at line.*$/, '') ?? '');
  const { contents } = document;
  if (contents === null) return {};
  if (!isMap(contents)) throw refuse(0, 'a line "ca: https://…" was expected');
  let configuration: Configuration = {};
  for (const { key, value } of contents.items) {
    const at = isScalar(key) ? (key.range?.[0] ?? 0) : 0;
    const name = isScalar(key) ? String(key.value) : '';
    const known = KEYS.find((one) => one === name);
    if (known === undefined)
      throw refuse(at, `the key ${JSON.stringify(name)} is unknown${didYouMean(name, KEYS)}`);
    if (!isScalar(value) || typeof value.value !== 'string') {
      const what = { ca: 'a CA', broker: 'a broker' }[known];
      throw refuse(at, `${known} is the address of ${what}, https://…`);
    }
    configuration = { ...configuration, [known]: value.value };
  }
  return configuration;
}

/** Remembers an address; comments in the file stay. Throws CliError `configuration` when the file cannot be read. */
export async function rememberAddress(file: string, key: Key, address: string): Promise<void> {
  const known = await readConfiguration(file);
  if (known[key] === address) return;
  const text = (await readText(file)) ?? '# The CA that `beacon login` goes to.\n';
  const document = parseDocument(text);
  document.set(key, address);
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writePrivateFile(file, document.toString());
}

async function readText(file: string): Promise<string | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined;
    throw new CliError('configuration', 'invalid', `${file} cannot be read: ${reason(error)}`, {
      cause: error,
    });
  }
  if (text.length > MAX_CHARACTERS) throw new CliError('configuration', 'invalid', `${file} is too long`);
  return text;
}
