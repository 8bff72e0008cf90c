/**
 * What may be named in a policy or asked of it: the commands with their parameters (in the form of a host's allowlist,
 * DESIGN 5) and the hosts. Read strictly from parsed values: an unknown key is refused with its place and the nearest
 * known one. Keys of the allowlist that only the host needs (`argv`, `run_as`, …) are allowed and not looked at.
 */
import { type Place, PolicyError } from './error.ts';
import { isCommandName, isHostId, isLabelKey, isLogin, isParameterName, isPoolName } from './name.ts';
import { compilePattern, PatternRefused } from './pattern.ts';
import { isText, ValueReader } from './value-reader.ts';

/** One parameter: the whole value must match `pattern`; a secret one is never shown to policy. */
export interface ParameterFacts {
  readonly pattern: string;
  readonly secret?: boolean;
}

/** One command; `undo` names the only command that may be sent along to take it back. */
export interface CommandFacts {
  readonly summary?: string;
  readonly params: Readonly<Record<string, ParameterFacts>>;
  readonly undo?: string;
}

/** What policy knows of one host. Labels are seen as `resource.getTag("env")`, pools as `resource in Pool::"p"`. */
export interface HostFacts {
  readonly id: string;
  readonly logins: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly pools: readonly string[];
}

/** The commands fix the schema of the policies; hosts may come and go without a policy being parsed again. */
export interface Inventory {
  readonly commands: Readonly<Record<string, CommandFacts>>;
  readonly hosts: Readonly<Record<string, HostFacts>>;
}

/** What the CA itself can be asked for; the resource is always `Authority::"ca"`. */
export const authorityActions = [
  'ca.decisions',
  'ca.hosts',
  'ca.persons',
  'ca.records',
  'ca.revoke',
  'ca.rotate',
] as const;
export type AuthorityAction = (typeof authorityActions)[number];

const aboutGrant = { grant: { pattern: '[0-7][0-9a-hjkmnp-tv-z]{25}' } };

/** What the gate of every host answers itself (DESIGN.md section 5). An inventory need not list it, and policy decides. */
export const builtInCommands: Readonly<Record<string, CommandFacts>> = {
  'gate.records': { summary: "The lines of a grant in the host's records", params: aboutGrant },
  'gate.state': { summary: 'What a grant has started, ended and taken back', params: aboutGrant },
};

const allowlistKeys = [
  'argv',
  'exclusive',
  'max_memory_bytes',
  'max_output_bytes',
  'max_tasks',
  'release',
  'run_as',
  'timeout_seconds',
];

/** Reads an inventory from a parsed file (`file` is named in refusals); throws PolicyError `inventory` or `pattern`. */
export function parseInventory(value: unknown, file = 'inventory'): Inventory {
  const top = new ValueReader('inventory', file, '', value).readRecord([
    'commands',
    'hosts',
    'places',
    'version',
  ]);
  if (top.has('version') && top.read('version').value !== 1) throw top.read('version').refuse('is not 1.');
  const commands = new Map(Object.entries(builtInCommands));
  for (const [name, entry] of top.has('commands') ? top.read('commands').readEntries() : []) {
    commands.set(name, readCommand(entry));
  }
  const hosts = new Map<string, HostFacts>();
  for (const [id, entry] of top.has('hosts') ? top.read('hosts').readEntries() : []) {
    hosts.set(id, readHost(id, entry));
  }
  const inventory = { commands: Object.fromEntries(commands), hosts: Object.fromEntries(hosts) };
  checkInventory(inventory, file);
  return inventory;
}

function readCommand(entry: ValueReader): CommandFacts {
  const command = entry.readRecord(['params', 'summary', 'undo', ...allowlistKeys]);
  const params = new Map<string, ParameterFacts>();
  for (const [name, value] of command.has('params') ? command.read('params').readEntries() : []) {
    const parameter = value.readRecord(['pattern', 'secret']);
    const secret = parameter.has('secret') && parameter.read('secret').readBoolean();
    params.set(name, { pattern: parameter.read('pattern').readText(), ...(secret ? { secret } : {}) });
  }
  return {
    params: Object.fromEntries(params),
    ...(command.has('summary') ? { summary: command.read('summary').readText() } : {}),
    ...(command.has('undo') ? { undo: command.read('undo').readText() } : {}),
  };
}

function readHost(id: string, entry: ValueReader): HostFacts {
  const host = entry.readRecord(['labels', 'logins', 'pools']);
  const labels = new Map<string, string>();
  for (const [key, value] of host.has('labels') ? host.read('labels').readEntries() : []) {
    labels.set(key, value.readText());
  }
  return {
    id,
    logins: host.read('logins').readTexts(),
    labels: Object.fromEntries(labels),
    pools: host.has('pools') ? host.read('pools').readTexts() : [],
  };
}

/** Checks names, patterns and undos of an inventory that was made otherwise; throws like `parseInventory`. */
export function checkInventory(inventory: Inventory, file = 'inventory'): void {
  const refuse = (key: string, text: string): PolicyError =>
    new PolicyError('inventory', { file, key }, text);
  for (const [name, command] of Object.entries(inventory.commands)) {
    const key = `commands.${name}`;
    if (name === 'ssh' || name === 'ca' || name.startsWith('ca.')) {
      throw refuse(key, '"ssh" and names that begin with "ca." are taken; give the command another name.');
    }
    if (!isCommandName(name)) throw refuse(key, 'a command is named like "runner.install".');
    if (command.undo !== undefined && !Object.hasOwn(inventory.commands, command.undo)) {
      throw refuse(`${key}.undo`, `there is no command "${command.undo}"; list it under "commands" too.`);
    }
    for (const [parameter, facts] of Object.entries(command.params)) {
      checkParameter(parameter, facts, { file, key: `${key}.params.${parameter}` });
    }
  }
  for (const [id, host] of Object.entries(inventory.hosts)) {
    const found = host.id === id ? faultOfHost(host) : 'the id differs from its key.';
    if (found !== null) throw refuse(`hosts.${id}`, found);
  }
}

function checkParameter(name: string, facts: ParameterFacts, place: Place): void {
  if (!isParameterName(name)) {
    throw new PolicyError('inventory', place, 'a parameter is named in lower case, like "repo_name".');
  }
  try {
    compilePattern(facts.pattern);
  } catch (cause) {
    if (cause instanceof PatternRefused) throw new PolicyError('pattern', place, `${cause.message}.`);
    throw cause;
  }
}

/** What is wrong with a host's facts, as a sentence, or null. */
export function faultOfHost(host: HostFacts): string | null {
  if (!isHostId(host.id)) return 'a host id is lower-case letters, digits, "." and "-", like "build-01".';
  const login = host.logins.find((each) => !isLogin(each));
  if (login !== undefined) return `"${login}" is no name of a login.`;
  const pool = host.pools.find((each) => !isPoolName(each));
  if (pool !== undefined)
    return `"${pool}" is no name of a pool; use lower-case letters, digits, ".", "_", "-".`;
  const label = Object.entries(host.labels).find(([key, value]) => !isLabelKey(key) || !isText(value, 256));
  return label === undefined ? null : `the label "${label[0]}" is malformed.`;
}
