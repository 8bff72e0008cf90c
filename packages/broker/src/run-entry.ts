/** A run as it is shown over HTTP, and what a person may press at it now. */
import type { RunEntry } from '@beacon/protocol/http/runs';
import { grantOf } from './broker-records.ts';
import type { StoredRun } from './run-order.ts';
import { possibleWishes } from './run-wishes.ts';

export function runEntry(run: StoredRun): RunEntry {
  const { state } = run;
  return {
    id: run.id,
    person: run.person,
    ...(run.service === undefined ? {} : { service: run.service }),
    host: run.host,
    login: run.login,
    kind: run.kind,
    title: run.title,
    params: { ...run.params },
    phase: state.phase,
    attempt: state.attempt,
    steps: state.steps.map(({ command, outcome, preparation }, at) => {
      const grant = grantOf(run, at);
      return { command, outcome, preparation, ...(grant === undefined ? {} : { grant }) };
    }),
    ...(state.end === undefined ? {} : { end: { ...state.end } }),
    ...(run.github === undefined
      ? {}
      : { github: { scope: run.github.scope, runner: run.github.runner, state: state.github } }),
    left: [...run.left],
    created: run.created.toISOString(),
    updated: run.updated.toISOString(),
    ...(run.retryOf === undefined ? {} : { retry_of: run.retryOf }),
    possible: [...possibleWishes(state)],
    last_event: run.lastEvent,
  };
}
