/**
 * The allowlist (DESIGN.md section 5): the root-owned file on a host that names the commands and what they execute.
 * Reading is strict and total; what can never be right (a placeholder for nothing, a secret in argv, a parameter that is
 * used nowhere, an undo that is no command) is refused when the file is read, not when the command is asked for. Who may
 * write the file and whether the programs in it are safe to start is looked at on the host, by the gate.
 */
import { createHash } from 'node:crypto';
import { ProtocolError } from './error.ts';
import { isName } from './name.ts';
import { compilePattern, type Pattern } from './pattern.ts';
import { parseStrictJsonBytes } from './strict-json.ts';
import { ValueReader } from './value-reader.ts';

export const ALLOWLIST_MAX_BYTES = 1_048_576;

/** Names that the gate itself answers; an allowlist may not define them. */
export const BUILT_IN_COMMANDS = ['gate.state', 'gate.records'] as const;

export interface AllowedParameter {
  readonly pattern: Pattern;
  /** Travels on the command's standard input, never in argv, environment, log or record. */
  readonly isSecret: boolean;
}

/** One whole argument of the program: a text as it stands, or the value of a parameter. Places are filled in already. */
export type Argument = { readonly text: string } | { readonly parameter: string };

/** The Unix account: one, or any of the accounts `<pool>-<number>`, bound to a value of the `exclusive` parameter. */
export type RunAs = { readonly account: string } | { readonly pool: string };

export interface AllowedCommand {
  readonly name: string;
  readonly summary: string;
  /** `argv[0]` is an absolute path without `.`, `..` or empty parts. */
  readonly argv: readonly [string, ...Argument[]];
  /** In the order of the file, which is the order of the secrets on standard input. */
  readonly parameters: ReadonlyMap<string, AllowedParameter>;
  readonly timeoutSeconds: number;
  readonly runAs: RunAs;
  readonly maxOutputBytes: number;
  readonly maxTasks: number;
  readonly maxMemoryBytes: number;
  /** The parameter of whose values each may be in work once at a time. */
  readonly exclusive: string | undefined;
  /** The only command that a request may send along to take this one back. */
  readonly undo: string | undefined;
  /** The command that frees the pool's account again when it has succeeded. */
  readonly release: string | undefined;
}

export interface Allowlist {
  readonly places: ReadonlyMap<string, string>;
  readonly commands: ReadonlyMap<string, AllowedCommand>;
  /** SHA-256 of the file's exact bytes, lower-case hex. */
  readonly digest: string;
}

const MOST_COMMANDS = 256;
const MOST_PARAMETERS = 32;
const MOST_ARGUMENTS = 64;
const LONGEST_ARGUMENT = 4_096;
const DEFAULT_OUTPUT_BYTES = 1_048_576;
const DEFAULT_TASKS = 256;
const DEFAULT_MEMORY_BYTES = 1_073_741_824;
const ABSOLUTE_PATH = /^(\/[^/]+)+$/;
const PLACEHOLDER = /^\{([^{}]*)\}$/;

/** Reads the file. Throws ProtocolError `allowlist-malformed` with the place, or `json-…`. */
export function parseAllowlist(bytes: Uint8Array): Allowlist {
  if (bytes.length > ALLOWLIST_MAX_BYTES) throw malformed(`it is longer than ${ALLOWLIST_MAX_BYTES} bytes`);
  const top = new ValueReader('allowlist-malformed', 'allowlist', parseStrictJsonBytes(bytes));
  const { version, places, commands } = top.members(['version', 'commands'], ['places']);
  if (version.value !== 1) throw version.refusal('it must be 1');
  const placesByName = readPlaces(places);
  const commandsByName = new Map<string, AllowedCommand>();
  for (const [name, entry] of commands.entries(MOST_COMMANDS)) {
    if (!isName('command', name)) throw entry.refusal('its key is not the name of a command');
    if (name.startsWith('gate.')) throw entry.refusal('names that begin with "gate." are built in');
    commandsByName.set(name, readCommand(name, entry, placesByName));
  }
  for (const command of commandsByName.values()) checkReferences(command, commandsByName);
  return {
    places: placesByName,
    commands: commandsByName,
    digest: createHash('sha256').update(bytes).digest('hex'),
  };
}

function readPlaces(reader: ValueReader | undefined): Map<string, string> {
  const places = new Map<string, string>();
  for (const [name, entry] of reader?.entries(MOST_PARAMETERS) ?? []) {
    if (!isName('parameter', name)) throw entry.refusal('its key is not the name of a place');
    places.set(name, readPath(entry));
  }
  return places;
}

function readCommand(name: string, entry: ValueReader, places: ReadonlyMap<string, string>): AllowedCommand {
  const read = entry.members(
    ['summary', 'argv', 'timeout_seconds', 'run_as'],
    ['params', 'max_output_bytes', 'max_tasks', 'max_memory_bytes', 'exclusive', 'undo', 'release'],
  );
  const parameters = readParameters(read.params, places);
  const runAs = readRunAs(read.run_as);
  const exclusive = read.exclusive?.name('parameter');
  if (exclusive !== undefined && parameters.get(exclusive)?.isSecret !== false) {
    throw entry.refusal(`exclusive names ${exclusive}, which is no parameter or a secret one`);
  }
  if ('pool' in runAs && exclusive === undefined) {
    throw entry.refusal(
      'a command that runs as one of a pool needs "exclusive", to which the account is bound',
    );
  }
  const argv = readArguments(read.argv, places, parameters);
  const used = new Set(
    argv
      .slice(1)
      .map((argument) => (typeof argument === 'object' && 'parameter' in argument ? argument.parameter : '')),
  );
  for (const [parameter, { isSecret }] of parameters) {
    if (!isSecret && !used.has(parameter) && parameter !== exclusive) {
      throw entry.refusal(`the parameter ${parameter} is used nowhere: name it in argv as {${parameter}}`);
    }
  }
  return {
    name,
    summary: read.summary.text(200),
    argv,
    parameters,
    timeoutSeconds: read.timeout_seconds.integer(1, 86_400),
    runAs,
    maxOutputBytes: read.max_output_bytes?.integer(0, 1_073_741_824) ?? DEFAULT_OUTPUT_BYTES,
    maxTasks: read.max_tasks?.integer(1, 65_536) ?? DEFAULT_TASKS,
    maxMemoryBytes: read.max_memory_bytes?.integer(1_048_576, 2 ** 40) ?? DEFAULT_MEMORY_BYTES,
    exclusive,
    undo: read.undo?.name('command'),
    release: read.release?.name('command'),
  };
}

function readParameters(
  reader: ValueReader | undefined,
  places: ReadonlyMap<string, string>,
): Map<string, AllowedParameter> {
  const parameters = new Map<string, AllowedParameter>();
  for (const [name, entry] of reader?.entries(MOST_PARAMETERS) ?? []) {
    if (!isName('parameter', name)) throw entry.refusal('its key is not the name of a parameter');
    if (places.has(name)) throw entry.refusal('a place has the same name');
    const { pattern, secret } = entry.members(['pattern'], ['secret']);
    parameters.set(name, { pattern: readPattern(pattern), isSecret: secret?.boolean() ?? false });
  }
  return parameters;
}

function readPattern(entry: ValueReader): Pattern {
  try {
    return compilePattern(entry.text());
  } catch (error) {
    if (error instanceof ProtocolError && error.code === 'pattern-malformed')
      throw entry.refusal(error.message);
    throw error;
  }
}

function readArguments(
  reader: ValueReader,
  places: ReadonlyMap<string, string>,
  parameters: ReadonlyMap<string, AllowedParameter>,
): [string, ...Argument[]] {
  const [program, ...rest] = reader.list(MOST_ARGUMENTS);
  if (program === undefined) throw reader.refusal('it must begin with the absolute path of a program');
  const path = readPath(program);
  if (/[{}]/.test(path)) throw program.refusal('the program is fixed: no placeholder');
  return [path, ...rest.map((entry) => readArgument(entry, places, parameters))];
}

function readArgument(
  entry: ValueReader,
  places: ReadonlyMap<string, string>,
  parameters: ReadonlyMap<string, AllowedParameter>,
): Argument {
  // An empty argument is an argument.
  const text = entry.value === '' ? '' : entry.text(LONGEST_ARGUMENT);
  if (!/[{}]/.test(text)) return { text };
  const name = PLACEHOLDER.exec(text)?.[1];
  if (name === undefined) throw entry.refusal('a placeholder fills exactly one whole argument: "{name}"');
  const place = places.get(name);
  if (place !== undefined) return { text: place };
  const parameter = parameters.get(name);
  if (parameter === undefined) throw entry.refusal(`{${name}} is neither a place nor a parameter`);
  if (parameter.isSecret) throw entry.refusal(`{${name}} is secret: secrets travel on standard input alone`);
  return { parameter: name };
}

function readRunAs(reader: ValueReader): RunAs {
  if (typeof reader.value === 'string') return { account: reader.name('login') };
  return { pool: reader.members(['pool']).pool.name('login') };
}

function readPath(entry: ValueReader): string {
  const path = entry.text(LONGEST_ARGUMENT);
  if (!ABSOLUTE_PATH.test(path) || path.split('/').some((part) => part === '.' || part === '..')) {
    throw entry.refusal('it must be an absolute path without ".", ".." or empty parts');
  }
  return path;
}

function checkReferences(command: AllowedCommand, commands: ReadonlyMap<string, AllowedCommand>): void {
  for (const [key, name] of [
    ['undo', command.undo],
    ['release', command.release],
  ] as const) {
    if (name !== undefined && !commands.has(name)) {
      throw malformed(`commands.${command.name}.${key}: there is no command ${name}`);
    }
  }
  if (command.release === undefined) return;
  const release = commands.get(command.release);
  const [pool, other] = [command.runAs, release?.runAs ?? command.runAs];
  if (!('pool' in pool) || !('pool' in other) || pool.pool !== other.pool) {
    throw malformed(`commands.${command.name}.release: both commands must run as one of the same pool`);
  }
}

function malformed(what: string): ProtocolError {
  return new ProtocolError('allowlist-malformed', `allowlist: ${what}`);
}
