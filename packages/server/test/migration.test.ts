import { describe, expect, test } from '@jest/globals';
import { isMigrated, type Migrations, migrate, openDatabase } from '../src/index.ts';
import { codeOf } from './temporary.ts';

interface Tables {
  readonly first: { readonly id: string };
  readonly second: { readonly id: string };
  readonly schema_version: { readonly name: string; readonly version: number };
}

const create =
  (table: string): Migrations['steps'][number] =>
  async (transaction) => {
    await transaction.schema.createTable(table).addColumn('id', 'text').execute();
  };

describe('migrate', () => {
  test('applies what is missing, once', async () => {
    const database = openDatabase<Tables>({ file: ':memory:' });
    await migrate(database, { name: 'a', steps: [create('first')] });
    await migrate(database, { name: 'a', steps: [create('first'), create('second')] });
    await migrate(database, { name: 'a', steps: [create('first'), create('second')] });
    expect(await database.selectFrom('schema_version').selectAll().execute()).toEqual([
      { name: 'a', version: 2 },
    ]);
    expect(await database.selectFrom('second').selectAll().execute()).toEqual([]);
    await database.destroy();
  });

  test('refuses a store that a newer program wrote', async () => {
    const database = openDatabase<Tables>({ file: ':memory:' });
    await migrate(database, { name: 'a', steps: [create('first'), create('second')] });
    expect(await codeOf(() => migrate(database, { name: 'a', steps: [create('first')] }))).toBe(
      'store-newer',
    );
    await database.destroy();
  });

  test('tells whether something is missing without changing anything', async () => {
    const database = openDatabase<Tables>({ file: ':memory:' });
    const older = { name: 'a', steps: [create('first')] };
    const newer = { name: 'a', steps: [create('first'), create('second')] };
    expect(await isMigrated(database, older)).toBe(false);
    await migrate(database, older);
    expect(await isMigrated(database, older)).toBe(true);
    expect(await isMigrated(database, newer)).toBe(false);
    await migrate(database, newer);
    expect(await codeOf(() => isMigrated(database, older))).toBe('store-newer');
    await database.destroy();
  });

  test('leaves nothing of a step that fails, and goes on from there the next time', async () => {
    const database = openDatabase<Tables>({ file: ':memory:' });
    const failing: Migrations['steps'][number] = async (transaction) => {
      await create('first')(transaction);
      throw new Error('half way');
    };
    await expect(migrate(database, { name: 'a', steps: [failing] })).rejects.toThrow('half way');
    await migrate(database, { name: 'a', steps: [create('first')] });
    expect(await database.selectFrom('first').selectAll().execute()).toEqual([]);
    await database.destroy();
  });

  test('counts each owner of tables apart', async () => {
    const database = openDatabase<Tables>({ file: ':memory:' });
    await migrate(
      database,
      { name: 'a', steps: [create('first')] },
      { name: 'b', steps: [create('second')] },
    );
    expect(await database.selectFrom('schema_version').selectAll().orderBy('name').execute()).toEqual([
      { name: 'a', version: 1 },
      { name: 'b', version: 1 },
    ]);
    await database.destroy();
  });
});
