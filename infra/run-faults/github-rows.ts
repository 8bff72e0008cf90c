/** What GitHub may do to a run, at each step that asks it for something. */
import { type FaultRow, inPhase, step } from './fault-row.ts';
import type { RowStage } from './fault-stage.ts';

const without = (row: RowStage, ...names: readonly string[]): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(row.params).filter(([name]) => !names.includes(name)));

const lookup = (row: RowStage) => without(row, 'version', 'sha256');

/** The run is made only when everything is known, so here there is none. */
const atLookup: readonly FaultRow[] = [
  {
    fault: 'GitHub is slow',
    step: 'the version and digest are asked for',
    sees: 'did not answer',
    todo: 'Try again',
    phase: 'refused',
    params: lookup,
    arrange: (row) => row.fault('downloads', 'slow', { seconds: 7 }),
  },
  {
    fault: 'GitHub answers 403',
    step: 'the version and digest are asked for',
    sees: 'it lacks the permission administration=write',
    todo: 'Ask an owner of example',
    phase: 'refused',
    params: lookup,
    arrange: (row) => row.fault('downloads', '403'),
  },
  {
    fault: 'GitHub answers 404',
    step: 'the version and digest are asked for',
    sees: 'shows you no repository',
    todo: 'Check the spelling',
    phase: 'refused',
    params: lookup,
    arrange: (row) => row.fault('downloads', '404'),
  },
  {
    fault: 'GitHub answers 503',
    step: 'the version and digest are asked for',
    sees: 'github-unavailable',
    todo: 'Try again',
    phase: 'refused',
    params: lookup,
    arrange: (row) => row.fault('downloads', '503'),
  },
  {
    fault: 'GitHub answers 429',
    step: 'the version and digest are asked for',
    sees: 'github-limited',
    todo: 'Try again',
    phase: 'refused',
    params: lookup,
    arrange: (row) => row.fault('downloads', '429', { seconds: 20 }),
  },
  {
    fault: "GitHub's answer is lost",
    step: 'the version and digest are asked for',
    sees: 'github-unavailable',
    todo: 'Try again',
    phase: 'refused',
    params: lookup,
    arrange: (row) => row.fault('downloads', 'lost-reply'),
  },
];

const REGISTRATION = 'a registration token is asked for';

const atRegistration: readonly FaultRow[] = [
  {
    fault: 'GitHub is slow',
    step: REGISTRATION,
    sees: 'did not answer',
    todo: 'Try again',
    phase: 'failed',
    arrange: (row) => row.fault('registration-token', 'slow', { seconds: 7 }),
  },
  {
    fault: 'GitHub answers 403',
    step: REGISTRATION,
    sees: 'it lacks the permission administration=write',
    todo: 'Ask an owner of example',
    phase: 'denied',
    arrange: (row) => row.fault('registration-token', '403'),
  },
  {
    fault: 'GitHub answers 404',
    step: REGISTRATION,
    sees: 'shows you no repository',
    todo: 'Check the spelling',
    phase: 'failed',
    arrange: (row) => row.fault('registration-token', '404'),
  },
  {
    fault: 'GitHub answers 409',
    step: REGISTRATION,
    sees: 'it does not go with what is there already',
    todo: 'Look at the runners there',
    phase: 'failed',
    arrange: (row) => row.fault('registration-token', '409'),
  },
  {
    fault: 'GitHub answers 422',
    step: REGISTRATION,
    sees: 'did not make a registration token',
    todo: 'Try again later',
    phase: 'failed',
    arrange: (row) => row.fault('registration-token', '422'),
  },
  {
    fault: 'GitHub answers 503',
    step: REGISTRATION,
    sees: 'Try again',
    todo: 'Try again',
    phase: 'failed',
    arrange: (row) => row.fault('registration-token', '503'),
  },
  {
    fault: 'GitHub answers 503 and asks for half a minute',
    step: REGISTRATION,
    sees: 'Try again in 30 s',
    todo: 'look at https://www.githubstatus.com',
    phase: 'failed',
    arrange: (row) => row.fault('registration-token', '503', { seconds: 30 }),
  },
  {
    fault: 'GitHub answers 503 once and asks for two seconds',
    step: REGISTRATION,
    sees: 'GitHub gave a registration token',
    todo: '',
    phase: 'succeeded',
    atGitHub: 1,
    onHost: true,
    arrange: (row) => row.fault('registration-token', '503', { seconds: 2, times: 1 }),
  },
  {
    fault: "GitHub's answer is lost",
    step: REGISTRATION,
    sees: 'Try again',
    todo: 'Try again',
    phase: 'failed',
    arrange: (row) => row.fault('registration-token', 'lost-reply'),
  },
  {
    fault: 'The name is taken at GitHub',
    step: REGISTRATION,
    sees: 'has a runner',
    todo: 'give another name, or retire that one first',
    phase: 'failed',
    atGitHub: 1,
    arrange: (row) => void row.addRunner(['beacon']),
  },
];

const ON_THE_HOST = 'the host registers the runner';

/** The host's own talk with GitHub goes by no repository, so it strikes all. */
const onTheHost: readonly FaultRow[] = [
  {
    fault: 'GitHub answers 404',
    step: ON_THE_HOST,
    sees: 'runner.configure ended with status',
    todo: 'its output says why',
    phase: 'failed',
    isAlone: true,
    arrange: (row) => row.fault('runner-registration', '404', { times: 1 }),
  },
  {
    fault: 'GitHub answers 409',
    step: ON_THE_HOST,
    sees: 'runner.configure ended with status',
    todo: 'its output says why',
    phase: 'failed',
    isAlone: true,
    arrange: (row) => row.fault('runner-registration', '409', { times: 1 }),
  },
  {
    fault: "GitHub's answer is lost",
    step: ON_THE_HOST,
    sees: 'runner.configure ended with status',
    todo: 'its output says why',
    phase: 'failed',
    isAlone: true,
    arrange: (row) => row.fault('runner-registration', 'lost-reply', { times: 1 }),
  },
];

/** Between the broker's look whether the name is free and the host's registration. */
const takenBetween: FaultRow = {
  fault: 'Somebody takes the name in between, with the label of all runners of ours',
  step: ON_THE_HOST,
  sees: 'was not registered by this run: it is left as it is',
  todo: 'its output says why',
  phase: 'failed',
  atGitHub: 1,
  arrange: (row) => row.fault('registration-token', 'slow', { seconds: 3, times: 1 }),
  act: {
    when: inPhase('preparing'),
    doing: async (row) => {
      await row.untilAsked('POST /registration-token');
      row.addRunner(['beacon']);
    },
  },
};

const ONLINE = 'the runner is awaited online';

const atOnline: readonly FaultRow[] = [
  {
    fault: 'GitHub answers 403',
    step: ONLINE,
    sees: 'it lacks the permission administration=write',
    todo: 'Ask an owner of example',
    phase: 'denied',
    act: {
      when: step('runner.start', 'sent'),
      doing: (row) => row.fault('list-runners', '403', { times: 1 }),
    },
  },
  {
    fault: 'GitHub answers 404',
    step: ONLINE,
    sees: 'shows you no repository',
    todo: 'Check the spelling',
    phase: 'failed',
    act: {
      when: step('runner.start', 'sent'),
      doing: (row) => row.fault('list-runners', '404', { times: 1 }),
    },
  },
  {
    fault: 'GitHub answers 503',
    step: ONLINE,
    sees: 'whether GitHub shows it online could not be asked',
    todo: 'Try again',
    phase: 'succeeded',
    atGitHub: 1,
    onHost: true,
    act: { when: step('runner.start', 'sent'), doing: (row) => row.fault('list-runners', '503') },
  },
  {
    fault: "GitHub's answer is lost once",
    step: ONLINE,
    sees: 'GitHub shows',
    todo: 'waiting for jobs',
    phase: 'succeeded',
    atGitHub: 1,
    onHost: true,
    act: {
      when: step('runner.start', 'sent'),
      doing: (row) => row.fault('list-runners', 'lost-reply', { times: 2 }),
    },
  },
  {
    fault: 'The runner never comes online',
    step: ONLINE,
    sees: 'GitHub has not shown it online',
    todo: 'look whether the host reaches GitHub',
    phase: 'failed',
    arrange: (row) => row.fault('list-runners', 'slow', { seconds: 3, times: 3 }),
    act: {
      when: step('runner.start', 'succeeded'),
      doing: (row) =>
        row.host.script(
          `systemctl stop "beacon-runner@$(basename "$(grep -lxF ${row.name} /var/lib/beacon/pools/*)").service"`,
        ),
    },
  },
];

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

export const GITHUB_ROWS: readonly FaultRow[] = [
  ...atLookup,
  ...atRegistration,
  ...onTheHost,
  takenBetween,
  ...atOnline,
  ...atRemoval,
  ...atDrain,
];
