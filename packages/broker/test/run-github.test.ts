/** GitHub's side of a run against the stand-in; the waiting is a clock that the tests turn. */
import { createRunners, type Runners } from '@beacon/github';
import { type Runner, type Standin, startStandin } from '@beacon/github-standin';
import { afterEach, beforeEach, describe, expect, it, test } from '@jest/globals';
import {
  BUILT_IN_PROCEDURES,
  completeFromGitHub,
  createRunGitHub,
  newRun,
  type Procedure,
  type RunGitHubSettings,
  type StoredRun,
} from '../src/index.ts';

const MONA = 1;
const APP = 'Iv1';
const SITE = { kind: 'repository', id: 5 } as const;
const PATH = '/repos/acme/site/actions/runners';
const configuration = {
  apps: [{ client_id: APP, client_secret: 'standin-secret', callback_urls: ['http://127.0.0.1:1/cb'] }],
  persons: [{ id: MONA, login: 'mona' }],
  organizations: [
    {
      id: 42,
      login: 'acme',
      members: ['mona'],
      owners: ['mona'],
      apps: [APP],
      runner_groups: ['linux'],
      repositories: [{ id: 5, name: 'site' }],
    },
  ],
};

let standin: Standin;
let runners: Runners;
let token: string;
let nowMs: number;
let notes: string[];
/** What happens while something is waited for; it is told how long that is. */
let whileWaiting: (ms: number) => void;

beforeEach(async () => {
  standin = await startStandin({ configuration });
  runners = createRunners({
    ...{ apiUrl: standin.url, webUrl: standin.url, timeoutMs: 2_000, retryWaitMs: 5 },
    circuit: { failures: 100 },
  });
  token = standin.state.mintToken({ clientId: APP, person: MONA }).token;
  nowMs = 1_700_000_000_000;
  notes = [];
  whileWaiting = () => undefined;
});
afterEach(() => standin.close());

const connect = (more: Partial<RunGitHubSettings> = {}) =>
  createRunGitHub({
    runners,
    now: () => new Date(nowMs),
    sleep: async (ms) => {
      nowMs += ms;
      whileWaiting(ms);
    },
    ...more,
  });

function stored(change: Partial<StoredRun> = {}, params: Record<string, string> = {}): StoredRun {
  const step = { command: 'runner.stop', preparation: 'drain', params: { name: 'web-1' } } as const;
  return {
    ...{ id: '01', person: 'github:1', service: undefined, host: 'build-01', login: 'beacon' },
    ...{ title: 'runner.retire', kind: 'procedure', params, fingerprint: 'f', grants: [], left: [] },
    steps: [{ ...step, secretNames: [], timeoutSeconds: 60 }],
    state: newRun([{ command: 'runner.stop', preparation: 'drain', hasUndo: false }]),
    ...{ created: new Date(nowMs), updated: new Date(nowMs), lastEvent: 0 },
    github: { scope: 'acme/site', runner: 'web-1' },
    ...change,
  };
}

const prepare = (
  what: 'register' | 'drain' | 'online',
  run = stored(),
  more: Partial<RunGitHubSettings> = {},
) => connect(more).prepare(run, what, token, (text) => notes.push(text), new AbortController().signal);

const remove = (run = stored(), signal = new AbortController().signal) =>
  connect().remove(run, token, (text) => notes.push(text), signal);

const MARK = 'beacon-run-0123456789abcdef';
/** A run that registers with a mark of its own. */
const marked = (change: Partial<StoredRun> = {}): StoredRun =>
  stored({
    steps: [
      {
        ...{ command: 'runner.configure', preparation: 'register', secretNames: [], timeoutSeconds: 1 },
        params: { name: 'web-1', labels: `beacon,${MARK}`, mode: 'stays' },
      },
    ],
    ...change,
  });

const add = (labels = ['beacon'], isEphemeral = false): Runner =>
  standin.state.runners.register(SITE, {
    ...{ name: 'web-1', labels, hasDefaultLabels: true, group: undefined },
    ...{ isEphemeral, version: '2.335.1' },
  });

/** Has a job until the result is called. */
async function makeBusy(runner: Runner): Promise<() => void> {
  standin.state.runners.openSession(runner);
  const job = standin.state.runners.queueJob({ scope: SITE, labels: [], script: ':' });
  await standin.state.runners.nextMessage(runner, 0);
  return () => standin.state.runners.finishJob(runner, job.id, 0, '');
}
const isThere = (runner: Runner): boolean => standin.state.runners.runners.has(runner.id);
const again = {
  state: { ...newRun([{ command: 'x', preparation: 'register', hasUndo: true }]), attempt: 2 },
};

describe('a registration', () => {
  it('is a token at the last moment, and its note does not show it', async () => {
    const { secrets } = await prepare('register');
    expect(standin.state.runners.scopeOf(secrets['token'] ?? '', 'registration')).toEqual(SITE);
    expect(notes).toEqual([
      expect.stringMatching(/^GitHub gave a registration token for acme\/site, until /),
    ]);
    expect(notes.join()).not.toContain(secrets['token']);
  });

  it('refuses a name that is taken, whoever has it, in the first attempt', async () => {
    const there = add();
    await expect(prepare('register')).rejects.toMatchObject({
      code: 'github-conflict',
      message: expect.stringMatching(/has a runner web-1 \(id \d+, offline\) already: give another name/),
    });
    expect(isThere(there)).toBe(true);
  });

  it('frees the name of what an attempt before has left, ours and offline, and of nothing else', async () => {
    const there = add();
    expect(await prepare('register', stored(again))).toMatchObject({
      secrets: { token: expect.any(String) },
    });
    expect(isThere(there)).toBe(false);
    for (const make of [() => add(['other']), () => standin.state.runners.openSession(add())]) {
      for (const { id } of standin.state.runners.inScope(SITE)) standin.state.runners.remove(id);
      make();
      await expect(prepare('register', stored(again))).rejects.toMatchObject({ code: 'github-conflict' });
    }
  });

  it('waits a little for GitHub, and then says what it said', async () => {
    const path = `${PATH}/registration-token`;
    standin.state.fault({ path, effect: { kind: 'too-many-requests', seconds: 3 }, times: 1 });
    expect(await prepare('register')).toMatchObject({ secrets: { token: expect.any(String) } });
    standin.state.fault({ path, effect: { kind: 'answer', status: 503 } });
    await expect(prepare('register')).rejects.toMatchObject({ code: 'github-unavailable' });
    standin.state.clearFaults();
    standin.state.fault({ path, effect: { kind: 'secondary-limit', seconds: 600 } });
    await expect(prepare('register')).rejects.toMatchObject({
      code: 'github-limited',
      retryAfterMs: 600_000,
    });
  });

  it('is refused in the words of GitHub where the person may not, or has logged out', async () => {
    const run = stored({ github: { scope: 'acme/nothing', runner: 'web-1' } });
    await expect(prepare('register', run)).rejects.toMatchObject({ code: 'github-not-found' });
    token = 'gho_of_yesterday';
    await expect(prepare('register')).rejects.toMatchObject({ code: 'github-unauthenticated' });
  });
});

describe('draining', () => {
  it('deletes what is idle, and says so', async () => {
    const there = add();
    expect(await prepare('drain')).toEqual({ secrets: {} });
    expect(isThere(there)).toBe(false);
    expect(notes).toEqual([
      `GitHub has let go of web-1 (id ${there.id}, offline): it was idle, and gets no more jobs`,
    ]);
  });

  it('waits for a job, shows that it goes on, and deletes when it has ended', async () => {
    const there = add();
    const end = await makeBusy(there);
    let waits = 0;
    whileWaiting = () => {
      waits += 1;
      if (waits === 6) end();
    };
    await prepare('drain', stored({}, { wait_seconds: '40' }));
    expect(isThere(there)).toBe(false);
    expect(notes[0]).toBe('web-1 has a job, which goes on; it is waited for, 40 s at most');
    expect(notes[1]).toMatch(/^web-1 still has a job; \d+ s more$/);
    expect(notes.at(-1)).toMatch(/has let go of web-1/);
  });

  it('gives up at its deadline with nothing changed, and says what the person can do', async () => {
    const there = add();
    await makeBusy(there);
    const began = nowMs;
    await expect(prepare('drain', stored({}, { wait_seconds: '20' }))).rejects.toMatchObject({
      code: 'github-busy',
      message: expect.stringMatching(/still has a job\. Nothing was changed\. Try again .*runner\.stop/),
    });
    expect(Math.round((nowMs - began) / 1_000)).toBe(20);
    expect(isThere(there)).toBe(true);
  });

  it('takes for gone what is not there on a second look, and shows a runner that died over its job', async () => {
    await prepare('drain');
    expect(notes).toEqual(['GitHub has no runner web-1 at acme/site any more: it gives it no jobs']);
    const there = add();
    await makeBusy(there);
    standin.state.runners.closeSession(there);
    notes = [];
    await expect(prepare('drain', stored({}, { wait_seconds: '1' }))).rejects.toMatchObject({
      code: 'github-busy',
    });
    expect(notes[0]).toMatch(/is offline and has a job that never ended: cancel that job at GitHub/);
  });

  it('is done when the reply that it is done was lost', async () => {
    const there = add();
    standin.state.fault({
      method: 'DELETE',
      path: `${PATH}/${there.id}`,
      effect: { kind: 'lost-reply' },
      times: 1,
    });
    await prepare('drain');
    expect(isThere(there)).toBe(false);
  });

  it('touches nothing without our label, and nothing at another scope than where it was registered', async () => {
    const there = add(['other']);
    await expect(prepare('drain')).rejects.toMatchObject({ code: 'github-conflict' });
    const elsewhere = { scopeOf: async () => 'acme/elsewhere' };
    await expect(prepare('drain', stored(), elsewhere)).rejects.toMatchObject({
      code: 'github-refused',
      message: expect.stringContaining('give the scope where it was'),
    });
    expect(isThere(there)).toBe(true);
  });
});

describe('coming online', () => {
  it('is waited for, and the id is kept', async () => {
    const there = add();
    whileWaiting = () => standin.state.runners.openSession(there);
    expect(await prepare('online')).toEqual({ secrets: {}, runnerId: there.id });
    expect(notes).toEqual([`GitHub shows web-1 (id ${there.id}, online), waiting for jobs`]);
  });

  it('fails where it does not come, within the bound', async () => {
    add();
    const began = nowMs;
    await expect(prepare('online')).rejects.toMatchObject({
      code: 'github-unavailable',
      message: expect.stringMatching(/not shown it online at acme\/site within 40 s, so it is taken back/),
    });
    expect(nowMs - began).toBeLessThanOrEqual(40_000);
  });

  it('takes a runner for one job that is there no more for one that had its job', async () => {
    const oneJob = stored({
      steps: [
        {
          ...{ command: 'runner.configure', preparation: 'register', secretNames: [], timeoutSeconds: 1 },
          params: { mode: 'one-job' },
        },
      ],
    });
    expect(await prepare('online', oneJob)).toEqual({ secrets: {} });
    expect(notes).toEqual([expect.stringMatching(/its one job came at once/)]);
    expect(nowMs).toBe(1_700_000_001_000);
  });

  it('does not take a runner back because GitHub cannot be asked, and says that it could not', async () => {
    standin.state.fault({ path: `${PATH}*`, effect: { kind: 'answer', status: 503 } });
    expect(await prepare('online')).toEqual({ secrets: {} });
    expect(notes).toEqual([expect.stringMatching(/^the runner runs; whether GitHub shows it online/)]);
  });
});

describe('a runner that took the name in between', () => {
  it('is not removed, though it has the label of all runners of ours; one with the mark of the run is', async () => {
    const foreign = add(['beacon']);
    await remove(marked());
    expect(isThere(foreign)).toBe(true);
    expect(notes).toEqual([
      `web-1 (id ${foreign.id}, offline) at acme/site was not registered by this run: it is left as it is`,
    ]);
    standin.state.runners.remove(foreign.id);
    const own = add(['beacon', MARK]);
    await remove(marked());
    expect(isThere(own)).toBe(false);
  });

  it('is not the leftover of an attempt before, and one with the mark is, also for a retry', async () => {
    const foreign = add(['beacon']);
    const again = [
      marked({ retryOf: '00' }),
      marked({
        state: { ...newRun([{ command: 'c', preparation: 'register', hasUndo: false }]), attempt: 2 },
      }),
    ];
    for (const run of again)
      await expect(prepare('register', run)).rejects.toMatchObject({ code: 'github-conflict' });
    standin.state.runners.remove(foreign.id);
    for (const run of again) {
      const left = add(['beacon', MARK]);
      await prepare('register', run);
      expect(isThere(left)).toBe(false);
    }
  });

  it('is not the one that is waited for', async () => {
    standin.state.runners.openSession(add(['beacon']));
    await expect(prepare('online', marked())).rejects.toMatchObject({ code: 'github-unavailable' });
  });
});

describe('taking back', () => {
  it('stops when somebody else has the run: another runner may have the name by then', async () => {
    const end = await makeBusy(add());
    const left = new AbortController();
    whileWaiting = () => {
      left.abort();
      end();
    };
    await expect(remove(stored(), left.signal)).rejects.toMatchObject({
      name: 'AbortError',
    });
    expect(standin.state.requests.filter((line) => line.startsWith('DELETE'))).toHaveLength(1);
  });

  it('finds by its name what nobody heard of, deletes it, and is content where nothing is', async () => {
    const there = add();
    await remove();
    expect(isThere(there)).toBe(false);
    await remove();
  });

  it('finds what GitHub lists only at the second look', async () => {
    whileWaiting = () => {
      whileWaiting = () => undefined;
      add();
    };
    await remove();
    expect(standin.state.runners.inScope(SITE)).toEqual([]);
    expect(standin.state.requests.filter((line) => line.startsWith('DELETE'))).toHaveLength(1);
  });

  it('waits for a job that was cancelled with it, and says what is left where it does not end', async () => {
    const there = add();
    const end = await makeBusy(there);
    whileWaiting = (ms) => void (ms > 3_000 && end());
    await remove();
    expect(isThere(there)).toBe(false);
    const other = add();
    await makeBusy(other);
    whileWaiting = () => undefined;
    await expect(remove()).rejects.toMatchObject({
      code: 'github-busy',
      message: expect.stringMatching(
        /It was left there\. When its job has ended, delete it: acme\/site, Settings/,
      ),
    });
  });
});

describe('what a person leaves out', () => {
  const builtIn = (name: string): Procedure => BUILT_IN_PROCEDURES.get(`runner.${name}`) as Procedure;
  const complete = (name: string, params: Record<string, string>) =>
    completeFromGitHub(builtIn(name), params, runners, token);

  it("is the newest version with GitHub's digest, for the architecture", async () => {
    const found = await complete('provision', { scope: 'acme/site', arch: 'arm64' });
    const download = (
      await runners.downloads(token, { kind: 'repository', owner: 'acme', repository: 'site' })
    ).find(({ architecture }) => architecture === 'arm64');
    expect(found).toMatchObject({ version: download?.version, sha256: download?.sha256 });
  });

  it('is not asked for where both are given', async () => {
    const given = { scope: 'acme/site', version: '1.2.3', sha256: 'a'.repeat(64) };
    expect(await complete('provision', given)).toBe(given);
    expect(standin.state.requests).toEqual([]);
  });

  test.each<[string, Record<string, string>, RegExp]>([
    [
      'a version that GitHub does not offer',
      { version: '2.0.0' },
      /leave version and sha256 out, or give both/,
    ],
    ['a digest of something else', { sha256: 'a'.repeat(64) }, /not what was asked for/],
    ['an architecture without a runner', { arch: 'riscv' }, /say arch=x64/],
  ])('is refused with %s', async (_, params, said) => {
    await expect(complete('provision', { scope: 'acme/site', ...params })).rejects.toMatchObject({
      code: 'params-malformed',
      message: expect.stringMatching(said),
    });
  });

  it('is refused where GitHub names no digest', async () => {
    const file = 'actions-runner-linux-x64-2.336.0.tar.gz';
    standin.state.fault({
      path: `${PATH}/downloads`,
      effect: {
        kind: 'answer',
        status: 200,
        body: [
          { os: 'linux', architecture: 'x64', download_url: `https://x.example/${file}`, filename: file },
        ],
      },
    });
    await expect(complete('provision', { scope: 'acme/site' })).rejects.toMatchObject({
      code: 'params-malformed',
      message: expect.stringMatching(/names no SHA-256 for version 2\.336\.0.*release notes/),
    });
  });

  it('is, for an upgrade, what the old runner has', async () => {
    add(['gpu', 'beacon', MARK]);
    expect(await complete('upgrade', { scope: 'acme/site', name: 'web-1' })).toMatchObject({
      ...{ labels: 'gpu,beacon', group: 'Default' },
    });
    await expect(complete('upgrade', { scope: 'acme/site', name: 'web-2' })).rejects.toMatchObject({
      code: 'params-malformed',
    });
  });
});
