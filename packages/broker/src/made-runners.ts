/** Which runners there must be, by what runs have made and taken away again. Reads runs; asks nobody. */
import type { Runs, StoredRun } from './run-order.ts';
import type { MadeRunner } from './runner-state.ts';

/** Looked through for where a runner was registered. */
const MOST_RUNS = 200;

/** Those that these runs have left at GitHub, on purpose or not; the runs are of one host, newest first. */
export function runnersMade(runs: readonly StoredRun[]): (MadeRunner & { readonly scope: string })[] {
  const gone = new Set<string>();
  return runs.flatMap((run) => {
    const { id, host, github, state } = run;
    run.steps.forEach(({ preparation, params }, at) => {
      if (preparation === 'drain' && state.steps[at]?.outcome === 'succeeded') gone.add(params['name'] ?? '');
    });
    const isThere = state.github === 'kept' || state.github === 'left';
    if (github === undefined || !isThere || gone.has(github.runner)) return [];
    return [{ name: github.runner, host, run: id, scope: github.scope }];
  });
}

/** Where the runner of that name on that host was registered; undefined where no run tells. */
export async function scopeOfRunner(
  runs: Pick<Runs, 'list'>,
  host: string,
  name: string,
): Promise<string | undefined> {
  const made = runnersMade(await runs.list({ host, limit: MOST_RUNS }));
  return made.find((one) => one.name === name)?.scope;
}
