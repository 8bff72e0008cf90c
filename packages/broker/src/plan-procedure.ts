/**
 * A procedure planned whole against the commands of a host, before its first step: every command is there, every value
 * is one that the host's pattern takes, secrets go only where the host calls them secret, and what takes a step back is
 * what the host lets take it back. Each defect names its place and its remedy. Whether policy allows it is the CA's
 * question, asked later. Pure but for the random part of a name.
 */
import { randomBytes } from 'node:crypto';
import { didYouMean } from '@beacon/protocol/nearest';
import { compilePattern } from '@beacon/protocol/pattern';
import { OUR_LABEL } from './built-in-procedures.ts';
import {
  describeDefects,
  type Procedure,
  type ProcedureDefect,
  type ProcedureStep,
  placeholderOf,
} from './procedure.ts';
import type { PlannedStep } from './run-order.ts';
import { newMark, randomLetters } from './runner-mark.ts';

/** A command as the CA lists it for a host. */
export interface HostCommand {
  readonly command: string;
  readonly params: Readonly<
    Record<string, { readonly pattern: string; readonly secret?: boolean | undefined }>
  >;
  readonly undo?: string | undefined;
  readonly timeout_seconds?: number | undefined;
}

export interface ProcedureRequest {
  readonly host: string;
  /** What the person gives, and what GitHub said for the rest. No secrets. */
  readonly params: Readonly<Record<string, string>>;
  /** The names of the secrets that the person gives along. */
  readonly secretNames: readonly string[];
  readonly commands: readonly HostCommand[];
  /** The mark of the run that this one retries; a new one where none is given. */
  readonly mark?: string | undefined;
  /** Gives that many random bytes; exists so that a test can fix them. */
  readonly random?: (length: number) => Buffer;
}

export type ProcedurePlan =
  | {
      readonly kind: 'planned';
      /** Every parameter that is not secret, also those that the person left out; without the run's mark. */
      readonly params: Readonly<Record<string, string>>;
      readonly steps: readonly [PlannedStep, ...PlannedStep[]];
      readonly github?: { readonly scope: string; readonly runner: string };
    }
  | {
      readonly kind: 'refused';
      readonly defects: readonly ProcedureDefect[];
      /** The defects for the person, a line each. */
      readonly reason: string;
    };

/** Where a host says nothing of a command's time. */
const DEFAULT_TIMEOUT_SECONDS = 300;

/** The parameters that GitHub is asked for before planning; see `procedure-defaults.ts`. */
export function missingFacts(procedure: Procedure, params: Readonly<Record<string, string>>): string[] {
  return [...procedure.parameters].flatMap(([name, { whenAbsent }]) =>
    whenAbsent.take === 'github' && !Object.hasOwn(params, name) ? [name] : [],
  );
}

/** The whole plan, or everything that is in its way. */
export function planProcedure(procedure: Procedure, request: ProcedureRequest): ProcedurePlan {
  const defects: ProcedureDefect[] = [];
  const params = completeParams(procedure, request, defects);
  const marked = withMark(procedure, params, request);
  const commands = new Map(request.commands.map((one) => [one.command, one]));
  const steps = procedure.steps.map((step, at) =>
    planStep(step, {
      place: `${procedure.name}.steps[${at}]`,
      host: request.host,
      params: marked,
      commands,
      defects,
    }),
  );
  const [first, ...rest] = steps;
  if (defects.length > 0 || first === undefined) return refused(defects);
  const { github } = procedure;
  return {
    kind: 'planned',
    params,
    steps: [first, ...rest],
    ...(github === undefined
      ? {}
      : { github: { scope: params[github.scope] ?? '', runner: params[github.runner] ?? '' } }),
  };
}

function refused(defects: readonly ProcedureDefect[]): ProcedurePlan {
  return { kind: 'refused', defects, reason: describeDefects(defects) };
}

/** The values of all parameters that are not secret; each that is wrong or missing is a defect. */
function completeParams(
  { name: title, parameters, github }: Procedure,
  { host, params, secretNames, random = randomBytes }: ProcedureRequest,
  defects: ProcedureDefect[],
): Record<string, string> {
  const wrong = (name: string, what: string, remedy: string): void => {
    defects.push({ place: `${title}.${name}`, what, remedy });
  };
  for (const name of Object.keys(params)) {
    const known = parameters.get(name);
    if (known?.isSecret === true) wrong(name, 'it is secret', 'give it as a secret, not as a parameter');
    if (known !== undefined) continue;
    wrong(
      name,
      `${title} has no such parameter${didYouMean(name, parameters.keys())}`,
      `it has ${[...parameters.keys()].join(', ')}`,
    );
  }
  for (const name of secretNames) {
    if (parameters.get(name)?.isSecret !== true)
      wrong(name, `${title} has no such secret`, 'give no secret that is not asked for');
  }
  const complete: Record<string, string> = {};
  for (const [name, { summary, pattern, isSecret, whenAbsent }] of parameters) {
    if (isSecret) {
      if (!secretNames.includes(name)) wrong(name, 'it is missing', `give it as a secret: ${summary}`);
      continue;
    }
    let value = Object.hasOwn(params, name) ? params[name] : undefined;
    if (value === undefined && whenAbsent.take === 'value') value = whenAbsent.value;
    if (value === undefined && whenAbsent.take === 'new-name') value = makeName(host, random);
    if (value === undefined) {
      wrong(name, 'it is missing', `give it: ${summary}`);
      continue;
    }
    if (name === github?.labels) value = withOurLabel(value);
    if (pattern.matches(value)) complete[name] = value;
    else wrong(name, `its value does not match ${pattern.source}`, `give another: ${summary}`);
  }
  return complete;
}

/** `<host>-<8 random characters>`, of the characters that a runner's name may have. */
function makeName(host: string, random: (length: number) => Buffer): string {
  return `${host.replaceAll('.', '-').slice(0, 54)}-${randomLetters(8, random)}`;
}

/** The values as steps have them: a runner that the run registers carries its mark. */
function withMark(
  { github }: Procedure,
  params: Readonly<Record<string, string>>,
  { mark, random = randomBytes }: ProcedureRequest,
): Readonly<Record<string, string>> {
  const labels = github?.labels === undefined ? undefined : params[github.labels];
  if (github?.labels === undefined || labels === undefined) return params;
  return { ...params, [github.labels]: `${labels},${mark ?? newMark(random)}` };
}

function withOurLabel(labels: string): string {
  return labels.split(',').includes(OUR_LABEL) ? labels : `${labels},${OUR_LABEL}`;
}

interface Surroundings {
  readonly place: string;
  readonly host: string;
  readonly params: Readonly<Record<string, string>>;
  readonly commands: ReadonlyMap<string, HostCommand>;
  readonly defects: ProcedureDefect[];
}

function planStep(step: ProcedureStep, around: Surroundings): PlannedStep {
  const { place } = around;
  const command = findCommand(step.command, place, around);
  const params = planValues(step.params, step.secrets, command, `${place}.params`, around);
  const undo = step.undo === undefined ? undefined : planUndo(step, step.undo, command, around);
  return {
    command: step.command,
    preparation: step.preparation,
    params,
    secretNames: step.secrets,
    ...(undo === undefined ? {} : { undo }),
    timeoutSeconds: command?.timeout_seconds ?? DEFAULT_TIMEOUT_SECONDS,
  };
}

function planUndo(
  { command: forward }: ProcedureStep,
  undo: NonNullable<ProcedureStep['undo']>,
  command: HostCommand | undefined,
  around: Surroundings,
): NonNullable<PlannedStep['undo']> {
  const place = `${around.place}.undo`;
  if (command !== undefined && command.undo !== undo.command) {
    around.defects.push({
      place,
      what:
        command.undo === undefined
          ? `the host lets nothing take ${forward} back`
          : `the host lets ${command.undo} take ${forward} back, not ${undo.command}`,
      remedy: `put "undo": "${undo.command}" into the host's allowlist, or change the procedure`,
    });
  }
  const back = findCommand(undo.command, place, around);
  return { command: undo.command, params: planValues(undo.params, [], back, `${place}.params`, around) };
}

function findCommand(
  name: string,
  place: string,
  { host, commands, defects }: Surroundings,
): HostCommand | undefined {
  const found = commands.get(name);
  if (found === undefined) {
    defects.push({
      place,
      what: `${host} has no command ${name}${didYouMean(name, commands.keys())}`,
      remedy: name.startsWith('runner.')
        ? 'whoever looks after the host adds the runner commands: beacon host init --runners COUNT'
        : "whoever looks after the host adds it to the host's allowlist",
    });
  }
  return found;
}

/** The command's values, held against what the host takes. */
function planValues(
  values: Readonly<Record<string, string>>,
  secrets: readonly string[],
  command: HostCommand | undefined,
  place: string,
  { params, defects }: Surroundings,
): Record<string, string> {
  const planned: Record<string, string> = {};
  for (const [name, template] of Object.entries(values)) {
    const parameter = placeholderOf(template);
    const value = parameter === undefined ? template : params[parameter];
    // A defect of the procedure's own parameter was named already.
    if (value !== undefined) planned[name] = value;
  }
  if (command === undefined) return planned;
  const wrong = (name: string, what: string, remedy: string): void => {
    defects.push({ place: `${place}.${name}`, what, remedy });
  };
  const given = new Set([...Object.keys(values), ...secrets]);
  for (const name of given) {
    const wanted = Object.hasOwn(command.params, name) ? command.params[name] : undefined;
    const isSecret = secrets.includes(name);
    if (wanted === undefined) {
      const near = didYouMean(name, Object.keys(command.params));
      wrong(
        name,
        `${command.command} has no such parameter on this host${near}`,
        'take it out of the procedure',
      );
    } else if ((wanted.secret ?? false) !== isSecret) {
      wrong(
        name,
        isSecret ? 'the host does not call it secret' : 'the host calls it secret',
        "change the host's allowlist or the procedure: both must say the same",
      );
    } else if (!isSecret && planned[name] !== undefined && !takes(wanted.pattern, planned[name])) {
      wrong(
        name,
        `the host takes only ${wanted.pattern}`,
        'give another value, or change the pattern on the host',
      );
    }
  }
  for (const name of Object.keys(command.params)) {
    if (!given.has(name)) wrong(name, `${command.command} wants it on this host`, 'add it to the step');
  }
  return planned;
}

/** A pattern that cannot be read is the host's to refuse. */
function takes(pattern: string, value: string): boolean {
  try {
    return compilePattern(pattern).matches(value);
  } catch {
    return false;
  }
}
