/**
 * Short sessions beside a run's own, after it was interrupted: asking the host what became of the steps, and taking steps
 * back. Each has a certificate of its own, which opens one session. A step that the host has taken back already is not
 * taken back again.
 */
import type { CertificateWish, ObtainedCertificate } from '@beacon/client';
import type { ChainHead } from '@beacon/protocol/checkpoint';
import { BrokerError } from './error.ts';
import { readGateState, withGateState } from './gate-state.ts';
import { runFailure } from './run-failure.ts';
import type { RunGrant, StoredRun } from './run-order.ts';
import { callGate, endCall, type Facts, type RunConnection } from './run-session.ts';
import type { Report, StepOutcome } from './run-state.ts';
import { lifetimeSeconds, type RandomBytes, stepRequest } from './step-request.ts';

export interface HostCalls {
  readonly run: StoredRun;
  readonly attempt: number;
  readonly random: RandomBytes;
  obtain(wish: CertificateWish): Promise<ObtainedCertificate>;
  dial(obtained: ObtainedCertificate): Promise<RunConnection>;
  /** On the disk when it resolves. */
  keepGrant(grant: RunGrant): Promise<void>;
  isHeld(): boolean;
  note(text: string): void;
  report(report: Report, facts?: Facts): void;
  head(grant: string, head: ChainHead): void;
}

const LOOK_SECONDS = 60;

/** What the host says became of each step. Throws BrokerError or ClientError where it cannot be asked. */
export async function lookAtHost(calls: HostCalls): Promise<readonly StepOutcome[]> {
  const { run, attempt, random } = calls;
  const grants = run.grants.filter((grant) => grant.attempt === attempt && grant.purpose !== 'look');
  let outcomes: readonly StepOutcome[] = run.state.steps.map(({ outcome }) => outcome);
  if (grants.length === 0) return outcomes;
  const requests = grants.map(({ grant }) =>
    stepRequest({ command: 'gate.state', params: { grant }, secretNames: [] }, new Map(), random),
  );
  const obtained = await calls.obtain({
    host: run.host,
    login: run.login,
    lifetimeSeconds: LOOK_SECONDS,
    commands: requests.map(({ forCa }) => forCa),
  });
  await calls.keepGrant({ grant: obtained.grant, attempt, steps: [], purpose: 'look' });
  const connection = await calls.dial(obtained);
  try {
    for (const [index, request] of requests.entries()) {
      const grant = grants[index];
      if (grant === undefined) continue;
      const answer = await callGate(connection, { kind: 'command', id: index + 1, asked: request.asked });
      if (!answer.isDone) throw new BrokerError('gate-refused', answer.reason);
      outcomes = withGateState(outcomes, grant, readGateState(answer.output, grant.grant));
    }
  } finally {
    const head = await endCall(connection, requests.length + 1);
    if (head !== undefined) calls.head(obtained.grant, head);
  }
  return outcomes;
}

/** Takes back these steps in this order, and tells each outcome. Throws where nothing of it can be asked for. */
export async function takeBackOnHost(calls: HostCalls, steps: readonly number[]): Promise<void> {
  const known = await lookFirst(calls);
  for (const step of steps) {
    const outcome = known?.[step];
    if (outcome === 'started') {
      throw new BrokerError(
        'wish-refused',
        `${calls.run.steps[step]?.command ?? 'a step'} is still in work on the host: look again in a while, and then undo`,
      );
    }
    if (outcome === 'undone' || outcome === 'waiting') calls.report({ kind: 'undone', step });
    else await takeBackStep(calls, step);
  }
}

/** Undefined where the host cannot be asked: an undo may then be called for once more than needed. */
async function lookFirst(calls: HostCalls): Promise<readonly StepOutcome[] | undefined> {
  try {
    return await lookAtHost(calls);
  } catch (error) {
    const { kind, reason } = runFailure(error);
    if (kind !== 'denied') throw error;
    calls.note(`the host could not be asked first what became of the steps: ${reason}`);
    return undefined;
  }
}

async function takeBackStep(calls: HostCalls, step: number): Promise<void> {
  const { run, attempt, random } = calls;
  const planned = run.steps[step];
  if (planned?.undo === undefined) return;
  const { undo, timeoutSeconds } = planned;
  const request = stepRequest({ ...undo, secretNames: [] }, new Map(), random);
  const obtained = await calls.obtain({
    host: run.host,
    login: run.login,
    lifetimeSeconds: lifetimeSeconds([{ timeoutSeconds }]),
    commands: [request.forCa],
  });
  await calls.keepGrant({ grant: obtained.grant, attempt, steps: [step], purpose: 'undo' });
  const connection = await calls.dial(obtained);
  try {
    if (!calls.isHeld()) throw new BrokerError('closed', 'another process has taken up this run');
    const { isDone, reason } = await callGate(connection, { kind: 'command', id: 1, asked: request.asked });
    if (isDone) calls.report({ kind: 'undone', step });
    else calls.report({ kind: 'left', step }, { reason });
  } finally {
    const head = await endCall(connection, 2);
    if (head !== undefined) calls.head(obtained.grant, head);
  }
}
