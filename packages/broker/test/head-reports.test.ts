import { setTimeout as delay } from 'node:timers/promises';
import { type CaApi, ClientError } from '@beacon/client';
import { expect, test } from '@jest/globals';
import { HeadReports } from '../src/head-reports.ts';
import type { Caller } from '../src/run-order.ts';
import type { RunDatabase } from '../src/store.ts';

const OWN = { seq: 9, hash: 'a'.repeat(64), time: new Date(0) };
const head = (seq: number) => ({ seq, hash: 'b'.repeat(64) });

/** Reports of a broker to a CA that refuses whatever names `refused`. */
function open(refused?: string) {
  const told: string[][] = [];
  const warnings: unknown[] = [];
  const reports = new HeadReports({
    store: {} as RunDatabase,
    records: { head: async () => OWN },
    log: { warn: (facts: unknown) => void warnings.push(facts) },
  });
  const api = {
    reportHeads: async (_own: object, hosts: readonly { host: string; head: { seq: number } }[]) => {
      told.push(hosts.map((one) => `${one.host}:${one.head.seq}`));
      if (hosts.some(({ host }) => host === refused))
        throw new ClientError('refused', 'conflict', 'this head is known as another one');
    },
  };
  const caller = (sessionKey: string): Caller => ({
    person: 'github:1',
    sessionKey,
    api: api as unknown as CaApi,
  });
  const settled = async (): Promise<string[][]> => {
    for (let count = -1; count !== told.length || told.length === 0; ) {
      count = told.length;
      await delay(400);
    }
    return told;
  };
  return { reports, caller, settled, warnings };
}

test('the heads of runs that come to rest together are one report, for each session, with the newest of each host', async () => {
  const { reports, caller, settled } = open();
  for (const [host, seq] of [
    ['a', 3],
    ['b', 1],
    ['a', 5],
    ['a', 4],
  ] as const)
    reports.report(caller('one'), host, head(seq));
  reports.report(caller('two'), 'c', head(2));
  reports.report(caller('two'), 'd', undefined);
  expect(await settled()).toEqual([['a:5', 'b:1'], ['c:2']]);
  reports.report(caller('one'), 'a', head(6));
  expect((await settled()).at(-1)).toEqual(['a:6']);
});

test('a host whose head is refused keeps back no other', async () => {
  const { reports, caller, settled, warnings } = open('bad');
  for (const host of ['a', 'bad', 'b']) reports.report(caller('one'), host, head(1));
  expect(await settled()).toEqual([['a:1', 'bad:1', 'b:1'], ['a:1'], ['bad:1'], ['b:1']]);
  expect(warnings).toHaveLength(1);
});
