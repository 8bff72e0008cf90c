/** What may become of the CA and of the person while a run is in work. */
import { setTimeout as sleep } from 'node:timers/promises';
import { succeed } from '../demo/trust-ceremony.ts';
import { type FaultRow, inPhase, step } from './fault-row.ts';
import { leaveTeam, type RowStage } from './fault-stage.ts';

const NAMED = 'may still be registered at';

const stopCa = (row: RowStage) => row.opened.stage.kill();
const startCa = (row: RowStage) => row.opened.stage.serve();

const ca: readonly FaultRow[] = [
  {
    fault: 'The CA is down',
    step: 'the run is asked for',
    sees: 'the certificate authority does not answer',
    todo: 'try again',
    phase: 'refused',
    isAlone: true,
    arrange: async (row) => {
      // A token for the broker is at hand, so that the broker is the one that finds nobody.
      await row.api.hosts();
      await stopCa(row);
    },
    mend: startCa,
  },
  {
    fault: 'The CA is down',
    step: 'the token for GitHub is asked for',
    sees: 'the certificate authority does not answer',
    todo: 'try again',
    phase: 'failed',
    isAlone: true,
    act: { when: step('runner.preflight', 'started'), doing: stopCa },
    mend: startCa,
  },
  {
    fault: 'The CA is down',
    step: 'the second certificate is asked for',
    sees: 'the certificate authority does not answer',
    todo: 'try again',
    phase: 'failed',
    isAlone: true,
    arrange: (row) => row.fault('registration-token', 'slow', { seconds: 3, times: 1 }),
    act: {
      when: inPhase('preparing'),
      doing: async (row) => {
        await row.untilAsked('POST /registration-token');
        await stopCa(row);
      },
    },
    mend: startCa,
  },
  {
    fault: 'The CA is down',
    step: 'the runner is awaited online',
    sees: NAMED,
    todo: 'remove it there',
    phase: 'failed',
    left: [NAMED],
    atGitHub: 1,
    isAlone: true,
    act: { when: step('runner.start', 'sent'), doing: stopCa },
    mend: startCa,
  },
  {
    fault: 'The CA is down',
    step: 'the CA decides',
    sees: 'the certificate authority does not answer',
    todo: 'try again',
    phase: 'failed',
    isAlone: true,
    // Between the run's making, for which GitHub is asked last, and the question that comes next.
    params: ({ scope, name }) => ({ scope, name, mode: 'stays' }),
    arrange: (row) => {
      row.fault('downloads', 'slow', { seconds: 3, times: 1 });
      row.untilAsked('GET /downloads').then(
        () => stopCa(row),
        () => undefined,
      );
    },
    mend: startCa,
  },
  {
    fault: "The CA denies: the scope is another owner's",
    step: 'the CA decides',
    sees: 'No policy permits',
    todo: 'ask an administrator',
    phase: 'denied',
    params: (row) => ({ ...row.params, scope: 'elsewhere/shop' }),
  },
];

const person: readonly FaultRow[] = [
  {
    fault: 'The person leaves the team',
    step: 'the third certificate is asked for',
    sees: 'No policy permits',
    todo: 'ask an administrator',
    phase: 'denied',
    person: true,
    // Nor may they ask the host any more what it wrote down.
    hostIsSilent: true,
    // What GitHub said of a person is a minute old at most.
    arrange: async (row) => {
      row.began = performance.now();
      await row.api.host(row.host.target.name);
      await sleep(27_000);
    },
    act: {
      when: step('runner.start', 'sent'),
      doing: async (row) => {
        const mend = row.fault('list-runners', '503');
        leaveTeam(row);
        await sleep(Math.max(0, row.began + 62_000 - performance.now()));
        mend();
      },
    },
  },
  {
    fault: 'The person is disabled',
    step: 'a registration token is asked for',
    sees: 'does not accept the token any more',
    todo: 'Log in again',
    phase: 'failed',
    person: true,
    // GitHub is asked again and again until then, with the token that the broker was given before.
    arrange: (row) => row.fault('list-runners', '503'),
    act: {
      when: inPhase('preparing'),
      doing: async (row) => {
        const change = async (what: string) =>
          succeed(await row.opened.stage.beacon('ada', ['ca', 'person', what, `github:${row.person.id}`]));
        await change('disable');
        row.mend();
        await change('enable');
        await row.logInAnew();
      },
    },
  },
  {
    fault: 'The person logs out',
    step: 'the second certificate is asked for',
    sees: 'your session has ended',
    todo: 'log in again',
    phase: 'failed',
    person: true,
    act: { when: step('runner.preflight', 'started'), doing: logOutAndIn },
  },
  {
    fault: 'The person logs out',
    step: 'the runner is awaited online',
    sees: NAMED,
    todo: 'remove it there',
    phase: 'failed',
    left: [NAMED],
    atGitHub: 1,
    person: true,
    act: { when: step('runner.configure', 'sent'), doing: logOutAndIn },
  },
];

async function logOutAndIn(row: RowStage): Promise<void> {
  await row.person.logOut();
  await row.logInAnew();
}

export const CALLER_ROWS: readonly FaultRow[] = [...person, ...ca];
