/**
 * From a request line to what will be executed (DESIGN.md section 3.5), in this order: the command is in the grant, with
 * exactly these arguments, and was not started; the parameters are exactly those of the allowlist, the secret ones the
 * committed ones; the command is in the allowlist; each value matches its pattern. An undo passes the same checks before
 * its command starts, so that what was done can be taken back. Nothing here touches the machine.
 */
import type { AllowedCommand, Allowlist } from '@beacon/protocol/allowlist';
import { parseParams } from '@beacon/protocol/arguments-digest';
import { type Invocation, invocationDigest } from '@beacon/protocol/gate-request';
import type { Grant, GrantedCommand } from '@beacon/protocol/grant';
import { GateError } from './error.ts';

/** A command of the allowlist with its arguments filled in. */
export interface FilledCommand {
  readonly command: AllowedCommand;
  /** Program and arguments, none of them secret. */
  readonly argv: readonly [string, ...string[]];
  /** The secret values in the order of the allowlist, a line each. */
  readonly stdin: string;
  /** The exact text of the parameters that are not secret. */
  readonly params: string;
  /** The value that may be in work only once at a time. */
  readonly exclusiveValue: string | undefined;
}

/** What is about to start. */
export interface Plan extends FilledCommand {
  /** Its place in the grant's list. */
  readonly index: number;
  readonly digest: string;
  readonly undo: FilledCommand | undefined;
}

/** Which entry of the grant a request is; its arguments are those that the CA saw. Throws GateError. */
export function matchGrant(
  grant: Grant,
  asked: Invocation,
  undo: Invocation | undefined,
  isStarted: (index: number) => boolean,
): { readonly index: number; readonly digest: string } {
  const named = grant.commands.flatMap((entry, index) =>
    entry.command === asked.command ? [{ entry, index }] : [],
  );
  if (named.length === 0) {
    throw new GateError('command-not-granted', `the grant does not name ${asked.command}: ask for it`);
  }
  const digest = invocationDigest(asked);
  const exact = named.filter(({ entry }) => entry.digest === digest);
  if (exact.length === 0) {
    throw new GateError(
      'arguments-differ',
      `${asked.command} was granted with other arguments: send exactly those for which you asked`,
    );
  }
  const fresh = exact.filter(({ index }) => !isStarted(index));
  if (fresh.length === 0) {
    throw new GateError(
      'already-started',
      `${asked.command} was started before, and starts only once: ask for another grant`,
    );
  }
  const whole = fresh.find(({ entry }) => isUndoOf(entry, undo));
  if (whole === undefined) {
    throw new GateError(
      'undo-differs',
      `the undo of ${asked.command} is not the one that was granted with it`,
    );
  }
  return { index: whole.index, digest };
}

/** Fills the arguments of one command by the host's own list. Throws GateError, which never quotes a secret. */
export function fillCommand(allowlist: Allowlist, asked: Invocation): FilledCommand {
  return fillWith(
    allowlist,
    asked.command,
    asked.params,
    new Map([...asked.secrets].map(([name, { value }]) => [name, value])),
  );
}

/** As `fillCommand`, from what a session kept of an undo: no secrets. */
export function fillWith(
  allowlist: Allowlist,
  name: string,
  params: string,
  secrets: ReadonlyMap<string, string>,
): FilledCommand {
  const visible = new Map(Object.entries(parseParams(params)));
  const command = allowlist.commands.get(name);
  if (command === undefined) {
    throw new GateError('command-not-allowed', `this host's allowlist does not name ${name}`);
  }
  requireParameters(command, visible, secrets);
  const given = (parameter: string): string => visible.get(parameter) ?? secrets.get(parameter) ?? '';
  for (const [parameter, { pattern }] of command.parameters) {
    if (!pattern.matches(given(parameter))) {
      throw new GateError(
        'value-refused',
        `the value of ${parameter} does not match this host's pattern for it (beacon gate list shows it)`,
      );
    }
  }
  const [program, ...rest] = command.argv;
  return {
    command,
    argv: [
      program,
      ...rest.map((argument) => ('text' in argument ? argument.text : given(argument.parameter))),
    ],
    stdin: [...command.parameters]
      .filter(([, { isSecret }]) => isSecret)
      .map(([parameter]) => `${given(parameter)}\n`)
      .join(''),
    params,
    exclusiveValue: command.exclusive === undefined ? undefined : given(command.exclusive),
  };
}

/** The whole plan of a request. Throws GateError or ProtocolError. */
export function planCommand(
  grant: Grant,
  allowlist: Allowlist,
  asked: Invocation,
  undo: Invocation | undefined,
  isStarted: (index: number) => boolean,
): Plan {
  const { index, digest } = matchGrant(grant, asked, undo, isStarted);
  const filled = fillCommand(allowlist, asked);
  if (undo !== undefined && filled.command.undo !== undo.command) {
    throw new GateError(
      'undo-differs',
      `this host's allowlist does not name ${undo.command} as the undo of ${asked.command}`,
    );
  }
  return { ...filled, index, digest, undo: undo === undefined ? undefined : fillCommand(allowlist, undo) };
}

function isUndoOf(entry: GrantedCommand, undo: Invocation | undefined): boolean {
  if (entry.undo === undefined || undo === undefined) return entry.undo === undo;
  return entry.undo.command === undo.command && entry.undo.digest === invocationDigest(undo);
}

/** Exactly the parameters of the list: none more, none less, and each secret where and only where the list says so. */
function requireParameters(
  command: AllowedCommand,
  visible: ReadonlyMap<string, string>,
  secrets: ReadonlyMap<string, string>,
): void {
  for (const name of [...visible.keys(), ...secrets.keys()]) {
    if (!command.parameters.has(name)) {
      throw new GateError('parameter-unknown', `${command.name} has no parameter ${name} on this host`);
    }
  }
  for (const [name, { isSecret }] of command.parameters) {
    const isPublic = visible.has(name);
    if (!isPublic && !secrets.has(name)) {
      throw new GateError('parameter-missing', `${command.name} needs the parameter ${name}`);
    }
    if (isSecret && isPublic) {
      throw new GateError(
        'parameter-secret',
        `${name} is secret on this host: commit to it, and send it as a secret`,
      );
    }
    if (!isSecret && !isPublic) {
      throw new GateError('parameter-not-secret', `${name} is not secret on this host: policy must see it`);
    }
  }
}
