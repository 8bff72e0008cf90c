/** Both kinds of store for tests: SQLite in a file, PostgreSQL in a cluster that stops when the test file ends. */
import { join } from 'node:path';
import { afterAll } from '@jest/globals';
import type { DatabaseOptions } from '../src/index.ts';
import { type Cluster, startCluster } from './postgres-cluster.ts';
import { temporaryFolder } from './temporary.ts';

export { type Cluster, startCluster };

/** One of the two kinds of store, for tests that run on both: `describe.each(engines)('on $engine', …)`. */
export interface Engine {
  readonly engine: 'SQLite' | 'PostgreSQL';
  /** A new, empty store. */
  place(): Promise<DatabaseOptions>;
}

let running: Promise<Cluster> | undefined;

/** The cluster of this test file. */
export function cluster(): Promise<Cluster> {
  running ??= startCluster();
  return running;
}

afterAll(async () => {
  await (await running)?.stop();
});

export const engines: readonly Engine[] = [
  { engine: 'SQLite', place: async () => ({ file: join(temporaryFolder(), 'store.db') }) },
  { engine: 'PostgreSQL', place: async () => ({ url: await (await cluster()).createDatabase() }) },
];
