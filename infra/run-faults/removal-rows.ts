/** What GitHub may do where a runner is taken away: by a run that takes itself back, and by one that retires it. */
import { type FaultRow, step } from './fault-row.ts';
import type { RowStage } from './fault-stage.ts';

const REMOVAL = 'the runner is removed at GitHub again';

/** A run that is cancelled while its runner is awaited online has everything to take back. */
const cancelled = (
  fault: Pick<FaultRow, 'fault' | 'sees' | 'todo'> & Partial<FaultRow>,
  strike: (row: RowStage) => void,
): FaultRow => ({
  step: REMOVAL,
  phase: 'cancelled',
  arrange: (row) => {
    row.fault('show-runner', 'slow', { seconds: 2, times: 1 });
    strike(row);
  },
  act: {
    when: step('runner.start', 'succeeded'),
    doing: async (row, id) => void (await row.api.wish(id, 'cancel')),
  },
  ...fault,
});

const NAMED = 'may still be registered at';

const atRemoval: readonly FaultRow[] = [
  cancelled(
    { fault: 'GitHub answers 403', sees: NAMED, todo: 'remove it there', left: [NAMED], atGitHub: 1 },
    (row) => row.fault('remove-runner', '403'),
  ),
  cancelled(
    { fault: 'GitHub answers 503', sees: NAMED, todo: 'remove it there', left: [NAMED], atGitHub: 1 },
    (row) => row.fault('remove-runner', '503'),
  ),
  cancelled(
    { fault: 'GitHub is slow', sees: 'the person cancelled the run', todo: '', phase: 'cancelled' },
    (row) => row.fault('remove-runner', 'slow', { seconds: 3, times: 1 }),
  ),
  cancelled(
    { fault: 'GitHub answers 422, for it is busy', sees: 'the person cancelled the run', todo: '' },
    (row) => row.fault('remove-runner', '422', { times: 2 }),
  ),
  cancelled({ fault: "GitHub's answer is lost", sees: 'the person cancelled the run', todo: '' }, (row) =>
    row.fault('remove-runner', 'lost-reply', { times: 1 }),
  ),
];

const DRAIN = 'the runner is drained';

const drained = (
  fault: Pick<FaultRow, 'fault' | 'sees' | 'todo' | 'phase'> & Partial<FaultRow>,
  strike: (row: RowStage) => void,
): FaultRow => ({
  step: DRAIN,
  procedure: 'runner.retire',
  params: (row) => ({ scope: row.scope, name: row.name, wait_seconds: '1' }),
  arrange: async (row) => {
    await provision(row);
    strike(row);
  },
  ...(fault.phase === 'succeeded' ? {} : { atGitHub: 1, onHost: true }),
  ...fault,
});

/** What is bound by hand here, runners of others would have bound. */
const BINDINGS = '/var/lib/beacon/pools';

const atDrain: readonly FaultRow[] = [
  {
    fault: 'The runner is not on the host, whose accounts are all in use',
    step: DRAIN,
    sees: 'accounts for runners are in use',
    todo: 'delete it in the settings at GitHub',
    phase: 'failed',
    procedure: 'runner.retire',
    params: (row) => ({ scope: row.scope, name: row.name }),
    atGitHub: 1,
    isAlone: true,
    arrange: async (row) => {
      row.addRunner(['beacon']);
      await row.host.script(
        `for at in 1 2 3 4 5 6; do [ -e ${BINDINGS}/beacon-r-$at ] || printf other >${BINDINGS}/beacon-r-$at; done`,
      );
    },
    mend: (row) => row.host.script(`grep -lx other ${BINDINGS}/* | xargs rm -f`),
  },
  drained(
    {
      fault: 'GitHub answers 403',
      sees: 'it lacks the permission administration=write',
      todo: 'Ask an owner of example',
      phase: 'denied',
    },
    (row) => row.fault('remove-runner', '403'),
  ),
  drained(
    {
      fault: 'GitHub answers 404',
      sees: 'shows you no repository',
      todo: 'Check the spelling',
      phase: 'failed',
    },
    (row) => row.fault('list-runners', '404'),
  ),
  drained(
    {
      fault: 'GitHub answers 422, for it has a job',
      sees: 'still has a job',
      todo: 'Try again when the job has ended',
      phase: 'failed',
    },
    (row) => row.fault('remove-runner', '422'),
  ),
  drained(
    {
      fault: 'GitHub answers 409',
      sees: 'it does not go with what is there already',
      todo: 'Look at the runners there',
      phase: 'failed',
    },
    (row) => row.fault('remove-runner', '409'),
  ),
  drained({ fault: 'GitHub answers 503', sees: 'Try again', todo: 'Try again', phase: 'failed' }, (row) =>
    row.fault('remove-runner', '503'),
  ),
  drained({ fault: 'GitHub is slow', sees: 'GitHub has let go of', todo: '', phase: 'succeeded' }, (row) =>
    row.fault('remove-runner', 'slow', { seconds: 3, times: 1 }),
  ),
  drained(
    { fault: "GitHub's answer is lost", sees: 'GitHub has let go of', todo: '', phase: 'succeeded' },
    (row) => row.fault('remove-runner', 'lost-reply', { times: 1 }),
  ),
];

async function provision(row: RowStage): Promise<void> {
  const { phase, end } = await row.finish({ procedure: 'runner.provision', params: row.params });
  if (phase !== 'succeeded') throw new Error(`no runner to begin with: ${end?.reason}`);
}

export const REMOVAL_ROWS: readonly FaultRow[] = [...atRemoval, ...atDrain];
