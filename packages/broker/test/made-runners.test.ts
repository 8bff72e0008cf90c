/** Which runners there must be, by what runs have made and taken away. */
import { expect, test } from '@jest/globals';
import { newRun, type RunState, type StoredRun } from '../src/index.ts';
import { runnersMade, scopeOfRunner } from '../src/made-runners.ts';

const at = new Date(0);
function run(id: string, runner: string, change: Partial<RunState>, drained?: string): StoredRun {
  const preparation = drained === undefined ? 'none' : 'drain';
  const state = newRun([{ command: 'runner.stop', preparation, hasUndo: false }]);
  return {
    ...{ id, person: 'github:1', service: undefined, host: 'build-01', login: 'beacon', title: 'x' },
    ...{ kind: 'procedure', params: {}, fingerprint: 'f', grants: [], left: [], created: at, updated: at },
    steps: [
      {
        command: 'runner.stop',
        preparation,
        params: { name: drained ?? runner },
        secretNames: [],
        timeoutSeconds: 1,
      },
    ],
    state: { ...state, ...change },
    lastEvent: 0,
    github: { scope: 'acme/site', runner },
  };
}
const done = (outcome: 'succeeded' | 'failed'): Partial<RunState> => ({
  steps: [{ command: 'runner.stop', preparation: 'drain', hasUndo: false, outcome }],
});

test('are those that were kept or left, and not drained by a later run', () => {
  const made = [run('2', 'web-2', { github: 'left' }), run('1', 'web-1', { github: 'kept' })];
  expect(runnersMade(made).map(({ name, run: id }) => [name, id])).toEqual([
    ['web-2', '2'],
    ['web-1', '1'],
  ]);
  expect(
    runnersMade([run('3', 'web-1', done('succeeded'), 'web-1'), ...made]).map(({ name }) => name),
  ).toEqual(['web-2']);
  expect(runnersMade([run('3', 'web-1', done('failed'), 'web-1'), ...made])).toHaveLength(2);
  expect(
    runnersMade([run('1', 'web-1', { github: 'removed' }), run('0', 'a', { github: 'nothing' })]),
  ).toEqual([]);
});

test('tell where one was registered', async () => {
  const runs = { list: async () => [run('1', 'web-1', { github: 'kept' })] };
  expect(await scopeOfRunner(runs, 'build-01', 'web-1')).toBe('acme/site');
  expect(await scopeOfRunner(runs, 'build-01', 'web-2')).toBeUndefined();
});
