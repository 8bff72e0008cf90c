/** What GitHub may do to a run that makes a runner, at each step that asks it for something. `removal-rows.ts` has the rest. */
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

export const PROVISION_ROWS: readonly FaultRow[] = [
  ...atLookup,
  ...atRegistration,
  ...onTheHost,
  takenBetween,
  ...atOnline,
];
