/**
 * A process of its own for `group-commit.test.ts`: writes records as fast as it can, and says of each, after it was
 * acknowledged, its number and hash. It is killed from outside.
 */
import { writeSync } from 'node:fs';
import {
  createGroupCommit,
  createRecords,
  migrate,
  openDatabase,
  type RecordTables,
  recordMigrations,
} from '../src/index.ts';

const [file = ''] = process.argv.slice(2);
const database = openDatabase<RecordTables>({ file });
await migrate(database, recordMigrations);
const commit = createGroupCommit(database);
const records = createRecords({ chain: 'ca', now: () => new Date() });

async function writeOnAndOn(): Promise<never> {
  for (;;) {
    const { seq, hash } = await commit.write((transaction) =>
      records.append(transaction, { kind: 'test', facts: { padding: 'x'.repeat(200) } }),
    );
    writeSync(1, `${seq} ${hash}\n`);
  }
}

await Promise.all(Array.from({ length: 16 }, writeOnAndOn));
