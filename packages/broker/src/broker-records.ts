/**
 * What the broker writes down in its chain of records (DESIGN.md section 8), each before what it tells of is done:
 *
 * | kind | when | facts |
 * |---|---|---|
 * | `run-created` | a person has asked for a run | `run, title, run_kind, steps, login`, and `retry_of` |
 * | `run-wished` | the person has pressed something | `run, wish` |
 * | `run-phase` | a run has moved | `run, attempt, phase`, and `how` where it will not succeed |
 * | `step-sent`, `step-started`, … | what is known of a step has changed | `run, attempt, step, command` |
 * | `session-certified` | a certificate was obtained | `run, attempt, purpose, steps` |
 * | `session-opened`, `session-closed` | the gate has said its first or last word | `run, attempt, seq, hash` of the host's chain |
 *
 * Texts that came from elsewhere, names and parameters stand in none of them.
 */

import type { ChainHead } from '@beacon/protocol/checkpoint';
import type { Json } from '@beacon/protocol/strict-json';
import type { RecordEntry } from '@beacon/server';
import type { RunGrant, StoredRun } from './run-order.ts';
import type { RunState } from './run-state.ts';

type Facts = { readonly [key: string]: Json };

export function createdRecord(run: StoredRun): RecordEntry {
  return about(run, 'run-created', {
    title: run.title,
    run_kind: run.kind,
    steps: run.steps.map(({ command }) => command),
    login: run.login,
    ...(run.retryOf === undefined ? {} : { retry_of: run.retryOf }),
  });
}

export function wishedRecord(run: StoredRun, wish: string): RecordEntry {
  return about(run, 'run-wished', { wish });
}

export function certifiedRecord(run: StoredRun, { grant, attempt, purpose, steps }: RunGrant): RecordEntry {
  return about(run, 'session-certified', { attempt, purpose, steps: [...steps] }, grant);
}

export function sessionRecord(
  run: StoredRun,
  kind: 'session-opened' | 'session-closed',
  grant: string,
  head: ChainHead,
): RecordEntry {
  return about(run, kind, { attempt: run.state.attempt, seq: head.seq, hash: head.hash }, grant);
}

/** What a move says: the steps that are known otherwise now, then the phase. */
export function moveRecords(run: StoredRun, before: RunState): readonly RecordEntry[] {
  const { state } = run;
  const isNew = state.attempt !== before.attempt;
  const steps = isNew
    ? []
    : state.steps.flatMap(({ outcome, command }, step) =>
        outcome === before.steps[step]?.outcome
          ? []
          : [about(run, `step-${outcome}`, { attempt: state.attempt, step, command }, grantOf(run, step))],
      );
  if (!isNew && state.phase === before.phase) return steps;
  const how = state.end === undefined ? {} : { how: state.end.how };
  return [...steps, about(run, 'run-phase', { attempt: state.attempt, phase: state.phase, ...how })];
}

/** The grant of this attempt under which a step was or will be asked for. */
export function grantOf(run: StoredRun, step: number): string | undefined {
  return run.grants.findLast(
    ({ attempt, purpose, steps }) =>
      attempt === run.state.attempt && purpose === 'steps' && steps.includes(step),
  )?.grant;
}

function about(run: StoredRun, kind: string, facts: Facts, grant?: string): RecordEntry {
  return {
    kind,
    person: run.person,
    ...(run.service === undefined ? {} : { service: run.service }),
    host: run.host,
    ...(grant === undefined ? {} : { grant }),
    facts: { run: run.id, ...facts },
  };
}
