/**
 * What a request must fulfil before policy is asked: names in their canonical form, a login that the host has, commands
 * of the inventory with exactly their parameters. Each refusal has its own code and names the nearest known name.
 */
import type { CommandFacts, Inventory } from './inventory.ts';
import { authorityActions, faultOfHost } from './inventory.ts';
import { formatLifetime, isLifetime, lifetimeBounds } from './lifetime.ts';
import { isCanonicalAddress, isProviderId } from './name.ts';
import { suggest } from './nearest.ts';
import {
  type DenialCode,
  type HostRequest,
  type Invocation,
  isAuthorityRequest,
  type PolicyRequest,
} from './request.ts';
import { isText } from './value-reader.ts';

export interface RequestFault {
  readonly code: DenialCode;
  readonly text: string;
}

/** Tests a parameter's value: `matches(command, parameter, value)`, with the patterns compiled when the engine was made. */
export type ValueTest = (command: string, parameter: string, value: string) => boolean;

const mostCommands = 32;

/** The first fault of the request, or null. */
export function faultOfRequest(
  request: PolicyRequest,
  inventory: Inventory,
  matches: ValueTest,
): RequestFault | null {
  const fault = faultOfAsker(request);
  if (fault !== null) return fault;
  if (isAuthorityRequest(request)) {
    const { authority } = request.commands;
    if (authorityActions.includes(authority)) return null;
    return {
      code: 'command',
      text: `There is no action "${String(authority)}".${suggest(String(authority), authorityActions)}`,
    };
  }
  return faultOfTarget(request) ?? faultOfCommands(request, inventory, matches);
}

function faultOfAsker({ person, service, sourceAddress, now }: PolicyRequest): RequestFault | null {
  if (!isProviderId(person.id))
    return { code: 'person', text: 'The person is not known by a provider and a number.' };
  if (!isText(service, 256)) return { code: 'service', text: 'The service has no proper name.' };
  if (!isCanonicalAddress(sourceAddress)) {
    return { code: 'source', text: 'The source address is not a canonical IPv4 or IPv6 address.' };
  }
  return Number.isFinite(now.getTime()) ? null : { code: 'policy-error', text: 'The clock shows no time.' };
}

function faultOfTarget({ host, login, lifetimeSeconds }: HostRequest): RequestFault | null {
  if (host === null) return { code: 'host', text: 'There is no such host.' };
  const malformed = faultOfHost(host);
  if (malformed !== null) return { code: 'host', text: `The facts of the host are malformed: ${malformed}` };
  if (!host.logins.includes(login)) {
    const known = host.logins.length === 0 ? ' It has none.' : ` It has ${host.logins.join(', ')}.`;
    return {
      code: 'login',
      text: `${host.id} has no login "${printable(login)}".${suggest(login, host.logins) || known}`,
    };
  }
  if (isLifetime(lifetimeSeconds)) return null;
  const { shortest, longest } = lifetimeBounds;
  const range = `${formatLifetime(shortest)} to ${formatLifetime(longest)}, in whole seconds`;
  return { code: 'lifetime', text: `A certificate lives ${range}; ${lifetimeSeconds} s were asked for.` };
}

function faultOfCommands(
  { commands }: HostRequest,
  inventory: Inventory,
  matches: ValueTest,
): RequestFault | null {
  if (commands === 'ssh') return null;
  if (commands.length === 0 || commands.length > mostCommands) {
    return { code: 'command', text: `Ask for 1 to ${mostCommands} commands at once.` };
  }
  for (const asked of commands) {
    const fault = faultOfInvocation(asked, inventory, matches);
    if (fault !== null) return fault;
    if (asked.undo !== undefined) {
      const undoFault =
        faultOfUndo(asked, asked.undo, inventory) ?? faultOfInvocation(asked.undo, inventory, matches);
      if (undoFault !== null) return undoFault;
    }
  }
  return null;
}

function faultOfInvocation(asked: Invocation, inventory: Inventory, matches: ValueTest): RequestFault | null {
  const facts = commandFacts(inventory, asked.command);
  if (facts === null) {
    const hint = suggest(asked.command, Object.keys(inventory.commands));
    return { code: 'command', text: `There is no command "${printable(asked.command)}".${hint}` };
  }
  const refuse = (text: string): RequestFault => ({ code: 'parameter', text: `${asked.command}: ${text}` });
  const isSecret = (name: string): boolean => facts.params[name]?.secret === true;
  const known = Object.keys(facts.params);
  for (const name of [...Object.keys(asked.params), ...(asked.secrets ?? [])]) {
    if (!Object.hasOwn(facts.params, name)) {
      return refuse(
        `there is no parameter "${printable(name)}".${suggest(name, known) || ` It takes ${known.join(', ') || 'none'}.`}`,
      );
    }
  }
  for (const [name, value] of Object.entries(asked.params)) {
    if (isSecret(name)) return refuse(`"${name}" is secret and must be committed to, not shown.`);
    if (typeof value !== 'string' || !value.isWellFormed() || !matches(asked.command, name, value)) {
      return refuse(`the value of "${name}" does not match its pattern ${facts.params[name]?.pattern ?? ''}`);
    }
  }
  const open = asked.secrets?.find((name) => !isSecret(name));
  if (open !== undefined) return refuse(`"${open}" is not secret and must be shown.`);
  const given = [...Object.keys(asked.params), ...(asked.secrets ?? known.filter(isSecret))];
  const absent = known.find((name) => !given.includes(name));
  return absent === undefined ? null : refuse(`the parameter "${absent}" is missing.`);
}

function faultOfUndo(asked: Invocation, undo: Invocation, inventory: Inventory): RequestFault | null {
  const named = commandFacts(inventory, asked.command)?.undo;
  if (undo.command !== named) {
    const own = named === undefined ? 'It has no undo.' : `Its undo is ${named}.`;
    return { code: 'undo', text: `"${printable(undo.command)}" does not take back ${asked.command}. ${own}` };
  }
  const other = Object.keys(undo.params).find(
    (name) => Object.hasOwn(asked.params, name) && asked.params[name] !== undo.params[name],
  );
  if (other === undefined) return null;
  return {
    code: 'undo',
    text: `${undo.command} would take back another "${other}" than ${asked.command} makes.`,
  };
}

/** A command of the inventory, never something that all JavaScript objects have. */
export function commandFacts(inventory: Inventory, command: string): CommandFacts | null {
  return Object.hasOwn(inventory.commands, command) ? (inventory.commands[command] ?? null) : null;
}

/** What somebody sent, short and without control characters, for a message. */
function printable(text: string): string {
  return String(text)
    .slice(0, 64)
    .replace(/[^\x20-\x7e]/g, '?');
}
