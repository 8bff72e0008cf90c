/**
 * A step as it is asked for (DESIGN.md section 3.3): to the CA with commitments in the place of secrets, to the gate with
 * the values and the salts behind them. Both come from one place, so that the gate reads what policy saw.
 */
import { Buffer } from 'node:buffer';
import { secretCommitment } from '@beacon/protocol/arguments-digest';
import type { GateRequest, Invocation, SecretValue } from '@beacon/protocol/gate-request';
import type { CommandRequest } from '@beacon/protocol/http/certificates';
import type { PlannedStep } from './run-order.ts';

export interface StepRequest {
  readonly forCa: CommandRequest;
  readonly asked: Invocation;
  readonly undo: Invocation | undefined;
}

export type RandomBytes = (length: number) => Buffer;

const SALT_BYTES = 32;
const LONGEST_SECONDS = 3600;
const SLACK_SECONDS = 60;

/** `secrets` holds a value for each of the step's secret parameters; others are not looked at. */
export function stepRequest(
  step: Pick<PlannedStep, 'command' | 'params' | 'secretNames' | 'undo'>,
  secrets: ReadonlyMap<string, string>,
  random: RandomBytes,
): StepRequest {
  const kept = new Map<string, SecretValue>();
  for (const name of step.secretNames) {
    kept.set(name, { salt: random(SALT_BYTES), value: secrets.get(name) ?? '' });
  }
  const asked = invocation(step.command, step.params, kept, random);
  const undo =
    step.undo === undefined ? undefined : invocation(step.undo.command, step.undo.params, new Map(), random);
  return {
    forCa: { ...spell(asked), ...(undo === undefined ? {} : { undo: spell(undo) }) },
    asked,
    undo,
  };
}

/** The line for the gate. */
export function gateRequest(id: number, { asked, undo }: StepRequest): GateRequest {
  return { kind: 'command', id, asked, ...(undo === undefined ? {} : { undo }) };
}

/** Until when these steps must have started, at the latest, and a minute. */
export function lifetimeSeconds(steps: readonly { readonly timeoutSeconds: number }[]): number {
  const sum = steps.reduce((total, { timeoutSeconds }) => total + timeoutSeconds, SLACK_SECONDS);
  return Math.min(sum, LONGEST_SECONDS);
}

/** The steps, cut before each that needs something of GitHub: a certificate is asked for each piece. */
export function certifiedPieces(steps: readonly PlannedStep[]): readonly (readonly PlannedStep[])[] {
  const pieces: PlannedStep[][] = [];
  for (const step of steps) {
    const last = pieces.at(-1);
    if (last === undefined || step.preparation !== 'none') pieces.push([step]);
    else last.push(step);
  }
  return pieces;
}

function invocation(
  command: string,
  params: Readonly<Record<string, string>>,
  secrets: ReadonlyMap<string, SecretValue>,
  random: RandomBytes,
): Invocation {
  return { command, params: JSON.stringify(params), salt: random(SALT_BYTES), secrets };
}

function spell({ command, params, salt, secrets }: Invocation): Omit<CommandRequest, 'undo'> {
  const commitments = [...secrets].map(([name, secret]) => [
    name,
    secretCommitment(secret.salt, Buffer.from(secret.value)).toString('base64url'),
  ]);
  return { command, params, salt: salt.toString('base64url'), commitments: Object.fromEntries(commitments) };
}
