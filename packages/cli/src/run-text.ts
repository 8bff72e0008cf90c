/** A run in words for people, and as JSON with the API's own names for programs. */
import type { Run, RunEvent } from '@beacon/client';
import { formatTime } from './terminal.ts';

export function runJson(run: Run): object {
  return {
    id: run.id,
    person: run.person,
    service: run.service,
    host: run.host,
    login: run.login,
    kind: run.kind,
    title: run.title,
    params: run.params,
    phase: run.phase,
    attempt: run.attempt,
    steps: run.steps,
    end: run.end,
    github: run.github,
    left: run.left,
    created: run.created,
    updated: run.updated,
    retry_of: run.retryOf,
    possible: run.possible,
    last_event: run.lastEvent,
  };
}

/** One run and how it stands, with why it does not go on. */
export function runLine(run: Run): string {
  return `${run.id}  ${run.title} on ${run.login}@${run.host}: ${standing(run)}`;
}

export function standing({ phase, end }: Run): string {
  return end === undefined ? phase : `${phase}: ${end.reason}`;
}

/** All that is known of one run. */
export function runLines(run: Run): readonly string[] {
  const params = Object.entries(run.params).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return [
    runLine(run),
    ...(params.length === 0 ? [] : [`parameters: ${params.join(' ')}`]),
    `asked for by ${run.person}${run.service === undefined ? '' : ` through ${run.service}`} at ${formatTime(run.created)}, last news ${formatTime(run.updated)}`,
    ...(run.attempt === 1 ? [] : [`attempt ${run.attempt}`]),
    ...(run.retryOf === undefined ? [] : [`again for ${run.retryOf}`]),
    ...run.steps.map(
      ({ command, outcome, grant }, at) =>
        `step ${at + 1}: ${command}: ${outcome}${grant === undefined ? '' : ` (grant ${grant})`}`,
    ),
    ...(run.github === undefined
      ? []
      : [`runner ${run.github.runner} at ${run.github.scope}: ${run.github.state}`]),
    ...endLines(run),
  ];
}

/** What is left behind, and what can be done now. */
export function endLines(run: Run): readonly string[] {
  const wishes = run.possible.map((wish) => `beacon runs ${wish} ${run.id}`);
  return [
    ...run.left.map((left) => `left behind: ${left}`),
    ...(wishes.length === 0 ? [] : [`you may: ${wishes.join(', ')}`]),
  ];
}

/** The news of an event in a line; nothing for output and for what says itself. */
export function eventLine({ kind, data }: RunEvent): string | undefined {
  const text = (name: string) => {
    const value = data[name];
    return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
  };
  const why = text('reason') === undefined ? '' : `: ${text('reason')}`;
  switch (kind) {
    case 'note':
      return text('text');
    case 'truncated':
      return `output was cut${why || (text('max_output_bytes') === undefined ? '' : ` behind ${text('max_output_bytes')} bytes`)}`;
    case 'step': {
      const outcome = text('outcome') ?? '';
      if (['waiting', 'sent'].includes(outcome)) return undefined;
      const status = text('signal') ?? text('code');
      const how = outcome === 'failed' && status !== undefined ? ` with ${status}` : '';
      return `${text('command') ?? 'a step'} ${outcome}${how}${why}`;
    }
    default:
      return undefined;
  }
}
