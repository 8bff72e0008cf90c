/**
 * A procedure (DESIGN.md section 1) as a value: commands in order, each with the command that takes it back, what the
 * person gives for them, and what a step needs of GitHub right before it. Here is what one is, and what can be wrong with
 * one by itself; whether a host's commands are as it expects them is `plan-procedure.ts`. Pure.
 */
import { isName, nameForms } from '@beacon/protocol/name';
import { didYouMean } from '@beacon/protocol/nearest';
import type { Pattern } from '@beacon/protocol/pattern';
import type { Preparation } from './run-state.ts';

export interface Procedure {
  readonly name: string;
  readonly summary: string;
  readonly origin: 'built-in' | 'operator';
  /** In the order in which a person is asked for them. */
  readonly parameters: ReadonlyMap<string, ProcedureParameter>;
  readonly steps: readonly ProcedureStep[];
  /** Set where a step needs something of GitHub: the parameters that say where, and which runner is registered. */
  readonly github: ProcedureGitHub | undefined;
}

export interface ProcedureParameter {
  readonly summary: string;
  readonly pattern: Pattern;
  /** Goes to commands on their standard input, and is written down nowhere. */
  readonly isSecret: boolean;
  readonly whenAbsent: WhenAbsent;
}

/** What is taken where the person gives no value. */
export type WhenAbsent =
  | { readonly take: 'nothing' }
  | { readonly take: 'value'; readonly value: string }
  /** `<host>-<8 random characters>`. */
  | { readonly take: 'new-name' }
  /** What GitHub says when the run is made: the newest runner there, or what the runner has that is replaced. */
  | { readonly take: 'github'; readonly what: GitHubFact };

export type GitHubFact = 'version' | 'sha256' | 'labels' | 'group';

export interface ProcedureGitHub {
  /** The parameter with the repository or organisation. */
  readonly scope: string;
  /** The parameter with the runner's name. */
  readonly runner: string;
  /** The parameter with its labels, to which ours is added. */
  readonly labels?: string;
  /** The parameter with the name of the runner that is replaced. */
  readonly replaces?: string;
}

export interface ProcedureStep {
  readonly command: string;
  readonly preparation: Preparation;
  /** By the command's names: a text as it stands, or `{parameter}`, which stands for the whole value. */
  readonly params: Readonly<Record<string, string>>;
  /** Secret parameters of the command; they have the same names in the procedure. */
  readonly secrets: readonly string[];
  readonly undo: { readonly command: string; readonly params: Readonly<Record<string, string>> } | undefined;
}

/** What is wrong, where, and what to do. */
export interface ProcedureDefect {
  readonly place: string;
  readonly what: string;
  readonly remedy: string;
}

export const MOST_STEPS = 32;
/** The secret that a step has from GitHub and not from the person. */
export const REGISTRATION_SECRET = 'token';

const PLACEHOLDER = /^\{([^{}]*)\}$/;

/** The parameter that a value stands for; undefined where it is a text as it stands. */
export function placeholderOf(value: string): string | undefined {
  return PLACEHOLDER.exec(value)?.[1];
}

/** Everything that is wrong with a procedure by itself; none for those that are built in. */
export function checkProcedure(procedure: Procedure): ProcedureDefect[] {
  const found: ProcedureDefect[] = [];
  const wrong = (place: string, what: string, remedy: string): void => {
    found.push({ place: `${procedure.name}.${place}`, what, remedy });
  };
  const { parameters, steps, github } = procedure;
  if (!isName('command', procedure.name)) {
    found.push({ place: procedure.name, what: `it is not ${nameForms.command}`, remedy: 'rename it' });
  }
  if (steps.length === 0 || steps.length > MOST_STEPS) {
    wrong('steps', `there are ${steps.length}`, `give it 1 to ${MOST_STEPS} steps`);
  }
  for (const [name, { whenAbsent, pattern, isSecret }] of parameters) {
    const place = `params.${name}`;
    if (!isName('parameter', name)) wrong(place, `its name is not ${nameForms.parameter}`, 'rename it');
    if (whenAbsent.take !== 'value') continue;
    if (isSecret) wrong(place, 'a secret has a default', 'take the default out: anybody could read it');
    else if (!pattern.matches(whenAbsent.value))
      wrong(place, 'its default does not match its pattern', 'change one of them');
  }
  const used = new Set<string>(github === undefined ? [] : [github.scope, github.runner]);
  const checkValues = (place: string, values: Readonly<Record<string, string>>): void => {
    for (const [name, value] of Object.entries(values)) {
      const parameter = placeholderOf(value);
      if (parameter === undefined) {
        if (/[{}]/.test(value))
          wrong(
            `${place}.${name}`,
            'a brace stands within a text',
            'a placeholder is the whole value: "{name}"',
          );
        continue;
      }
      used.add(parameter);
      const known = parameters.get(parameter);
      if (known === undefined)
        wrong(
          `${place}.${name}`,
          `there is no parameter ${parameter}${didYouMean(parameter, parameters.keys())}`,
          'name it under params',
        );
      else if (known.isSecret)
        wrong(`${place}.${name}`, `${parameter} is secret`, 'name it under secrets of the step instead');
    }
  };
  let ofCertificate = new Set<string>();
  steps.forEach((step, at) => {
    const place = `steps[${at}]`;
    // A certificate is for the steps up to the next that needs something of GitHub, and starts each command once.
    if (step.preparation !== 'none') ofCertificate = new Set();
    if (ofCertificate.has(step.command))
      wrong(
        `${place}.command`,
        `${step.command} stands there a second time, and a grant starts each command once`,
        'make two procedures of it, or give the host a second command',
      );
    ofCertificate.add(step.command);
    checkValues(`${place}.params`, step.params);
    if (step.undo !== undefined) checkValues(`${place}.undo.params`, step.undo.params);
    for (const name of step.secrets) {
      used.add(name);
      if (step.preparation === 'register' && name === REGISTRATION_SECRET) continue;
      if (parameters.get(name)?.isSecret !== true)
        wrong(
          `${place}.secrets`,
          `there is no secret parameter ${name}`,
          'name it under params, with secret: true',
        );
    }
    if (step.preparation === 'none') return;
    if (at === 0)
      wrong(
        place,
        'the first step needs something of GitHub',
        'begin with a command that looks whether all is fit',
      );
    if (github === undefined)
      wrong(
        place,
        `it says ${step.preparation}, and the procedure names no runner`,
        'say github: {scope, runner}',
      );
    if (step.preparation === 'register' && !step.secrets.includes(REGISTRATION_SECRET))
      wrong(
        place,
        'it gets a registration token and has nowhere to put it',
        `say secrets: [${REGISTRATION_SECRET}]`,
      );
  });
  for (const name of github === undefined ? [] : [github.scope, github.runner]) {
    if (parameters.get(name)?.isSecret !== false)
      wrong('github', `there is no parameter ${name}, or it is secret`, 'name it under params');
  }
  for (const name of parameters.keys()) {
    if (!used.has(name) && name !== WAIT_PARAMETER)
      wrong(`params.${name}`, 'it is used nowhere', 'name it in a step, or take it out');
  }
  return found;
}

/** The parameter that says how long a busy runner is waited for; no command has it. */
export const WAIT_PARAMETER = 'wait_seconds';

/** The defects as a person reads them, one a line. */
export function describeDefects(defects: readonly ProcedureDefect[]): string {
  return defects.map(({ place, what, remedy }) => `${place}: ${what}: ${remedy}`).join('\n');
}
