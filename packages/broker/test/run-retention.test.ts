/** How runs are found that are to be forgotten. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { RunDatabase } from '../src/index.ts';
import { queryEnded } from '../src/run-retention.ts';
import { RESTING } from '../src/store.ts';
import { openStore } from './small-broker.ts';

let store: RunDatabase;
beforeEach(async () => {
  store = await openStore({ file: ':memory:' });
});
afterEach(() => store.destroy());

describe('what is asked each minute', () => {
  it.each([
    ['whose output is due', () => queryEnded(store, 1, [0]), 'runs_ended'],
    ['which are due themselves', () => queryEnded(store, 1, [0, 1]), 'runs_ended'],
    [
      'that are in work',
      () => store.selectFrom('runs').selectAll().where('phase', 'not in', RESTING),
      'runs_in_work',
    ],
  ])('finds runs %s without looking at all of them', async (_, query, index) => {
    const asked = query().compile();
    const { rows } = await store.executeQuery({ ...asked, sql: `explain query plan ${asked.sql}` });
    expect(JSON.stringify(rows)).toContain(`USING INDEX ${index}`);
  });
});
