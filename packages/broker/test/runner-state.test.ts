/** What GitHub lists and what hosts say, joined: every way in which the two can differ. */
import type { GitHubRunner } from '@beacon/github';
import { describe, expect, it, test } from '@jest/globals';
import { ABSENCE_MS, joinRunners, type RunnerLook, readRunnerList } from '../src/index.ts';

const NOW = new Date('2026-11-22T12:00:00Z');
const made = [{ name: 'web-1', host: 'build-01', run: '01' }];
const onHost = (service = 'active', version = '2.336.0') =>
  new Map([['build-01', [{ host: 'build-01', name: 'web-1', account: 'beacon-r-1', version, service }]]]);
const nobody = new Map([['build-01', []]]);
const web = (change: Partial<GitHubRunner> = {}): GitHubRunner => ({
  ...{ id: 7, name: 'web-1', os: 'linux', status: 'online', busy: false },
  ...{ labels: ['self-hosted', 'Linux', 'X64', 'beacon'], ephemeral: false, version: '2.336.0' },
  ...change,
});

function findingOf(look: Partial<RunnerLook>) {
  const { runners } = joinRunners({
    ...{ github: [web()], hosts: onHost(), made, absent: new Map(), now: NOW },
    newest: { version: '2.336.0' },
    ...look,
  });
  return runners.map(({ finding, detail }) => [finding, detail ?? '']);
}

test.each<[string, Partial<RunnerLook>, string, RegExp]>([
  ['online without a job', {}, 'idle', /^$/],
  ['online with a job', { github: [web({ busy: true })] }, 'busy', /^$/],
  [
    'offline while its service runs',
    { github: [web({ status: 'offline' })] },
    'offline',
    /it runs on build-01, and GitHub does not hear it/,
  ],
  [
    'offline because its service does not run',
    { github: [web({ status: 'offline' })], hosts: onHost('failed') },
    'offline',
    /its service on build-01 is failed: runner\.status/,
  ],
  [
    'offline, and nobody asked its host',
    { github: [web({ status: 'offline' })], hosts: new Map() },
    'offline',
    /ask its host/,
  ],
  [
    'offline over a job that never ended',
    { github: [web({ status: 'offline', busy: true })] },
    'zombie-busy',
    /cancel that job at GitHub/,
  ],
  [
    'at GitHub, and no more on the host that it was made on',
    { github: [web({ status: 'offline' })], hosts: nobody },
    'orphan-at-github',
    /build-01 has it no more: runner\.retire/,
  ],
  [
    'at GitHub with our label, and made by no run',
    { github: [web({ status: 'offline' })], hosts: nobody, made: [] },
    'orphan-at-github',
    /no run here has made it/,
  ],
  [
    "somebody else's, offline: nothing is said of it",
    { github: [web({ status: 'offline', labels: ['self-hosted'] })], hosts: nobody, made: [] },
    'offline',
    /^$/,
  ],
  [
    'below the newest version',
    { newest: { version: '2.337.0' } },
    'outdated',
    /2\.336\.0 and GitHub offers 2\.337\.0: some 30 days after/,
  ],
  [
    'below the newest version, with the day until which it has jobs',
    { newest: { version: '2.1000.0', since: new Date('2026-11-02T00:00:00Z') } },
    'outdated',
    /until 2026-12-02 at the latest/,
  ],
  [
    "behind GitHub's deadline, and busy all the same",
    { github: [web({ busy: true })], newest: { version: '3.0.0', since: new Date('2026-09-01T00:00:00Z') } },
    'busy',
    /may have stopped giving it jobs; runner\.upgrade/,
  ],
  ['newer than what GitHub offers', { newest: { version: '2.335.9' } }, 'idle', /^$/],
])('%s', (_, look, finding, detail) => {
  expect(findingOf(look)).toEqual([[finding, expect.stringMatching(detail)]]);
});

test('taken away on both sides: nothing is said of it any more', () => {
  expect(findingOf({ github: [], hosts: nobody })).toEqual([]);
  expect(findingOf({ github: [], hosts: new Map() })).toEqual([['unconfirmed', expect.any(String)]]);
});

describe('a runner that GitHub does not list', () => {
  const at = (ms: number): Date => new Date(NOW.getTime() + ms);
  const look = (now: Date, absent: ReadonlyMap<string, Date>, github: GitHubRunner[] = []) =>
    joinRunners({ github, hosts: onHost(), made: [], absent, now });

  it('is gone only when it was missing twice, minutes apart', () => {
    const first = look(NOW, new Map());
    expect(first.runners).toMatchObject([{ finding: 'unconfirmed' }]);
    const second = look(at(ABSENCE_MS - 1), first.absent);
    expect(second.runners).toMatchObject([{ finding: 'unconfirmed' }]);
    expect(look(at(ABSENCE_MS), second.absent).runners).toMatchObject([
      { finding: 'orphan-on-host', host: 'build-01', detail: expect.stringContaining('name=web-1') },
    ]);
  });

  it('begins anew when it was listed in between', () => {
    const first = look(NOW, new Map());
    const between = look(at(ABSENCE_MS / 2), first.absent, [web()]);
    expect(between.absent).toEqual(new Map());
    expect(look(at(ABSENCE_MS), between.absent).runners).toMatchObject([{ finding: 'unconfirmed' }]);
  });
});

describe('the output of runner.list', () => {
  it('is read strictly', () => {
    expect(readRunnerList('build-01', 'web-1 beacon-r-1 2.336.0 active\nb beacon-r-2 - inactive\n')).toEqual([
      { host: 'build-01', name: 'web-1', account: 'beacon-r-1', version: '2.336.0', service: 'active' },
      { host: 'build-01', name: 'b', account: 'beacon-r-2', version: undefined, service: 'inactive' },
    ]);
    expect(readRunnerList('build-01', '')).toEqual([]);
    for (const line of ['web-1 beacon-r-1 2.336.0', 'Web beacon-r-1 - active', 'a b - active more'])
      expect(readRunnerList('build-01', line)).toBeUndefined();
  });
});
