import { readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { type Migrations, migrate, migrationState, openDatabase } from '../src/index.ts';
import { engines } from './postgres.ts';
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

describe.each(engines)('migrate on $engine', ({ engine, place }) => {
  test('applies what is missing, once', async () => {
    const database = openDatabase<Tables>(await place());
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
    const database = openDatabase<Tables>(await place());
    await migrate(database, { name: 'a', steps: [create('first'), create('second')] });
    expect(await codeOf(() => migrate(database, { name: 'a', steps: [create('first')] }))).toBe(
      'store-newer',
    );
    await database.destroy();
  });

  test('refuses a store in which a newer program keeps tables of a new kind', async () => {
    const database = openDatabase<Tables>(await place());
    const older = { name: 'a', steps: [create('first')] };
    await migrate(database, older, { name: 'b', steps: [create('second')] });
    expect(await codeOf(() => migrate(database, older))).toBe('store-newer');
    expect(await codeOf(() => migrationState(database, older))).toBe('store-newer');
    await database.destroy();
  });

  test('tells whether something is missing without changing anything', async () => {
    const database = openDatabase<Tables>(await place());
    const older = { name: 'a', steps: [create('first')] };
    const newer = { name: 'a', steps: [create('first'), create('second')] };
    expect(await migrationState(database, older)).toBe('none');
    await migrate(database, older);
    expect(await migrationState(database, older)).toBe('all');
    expect(await migrationState(database, newer)).toBe('some');
    await migrate(database, newer);
    expect(await codeOf(() => migrationState(database, older))).toBe('store-newer');
    await database.destroy();
  });

  test('leaves nothing of a step that fails, and goes on from there the next time', async () => {
    const database = openDatabase<Tables>(await place());
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
    const database = openDatabase<Tables>(await place());
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

  test('copies a SQLite file that holds something before its first step, and nothing else', async () => {
    const at = await place();
    const database = openDatabase<Tables>(at);
    await migrate(database, { name: 'a', steps: [create('first')] });
    await database.insertInto('first').values({ id: 'kept' }).execute();
    const failing: Migrations['steps'][number] = async () => {
      throw new Error('half way');
    };
    await expect(migrate(database, { name: 'a', steps: [create('first'), failing] })).rejects.toThrow();
    for (let i = 0; i < 2; i++) {
      await migrate(database, { name: 'a', steps: [create('first'), create('second')] });
    }
    await database.destroy();
    if (!('file' in at)) return;
    const copies = readdirSync(dirname(at.file)).filter((name) => name.includes('before'));
    expect(copies.sort()).toEqual(['store.db.before-a-2', 'store.db.before-a-2.2']);
    for (const copy of copies) {
      const file = join(dirname(at.file), copy);
      expect(statSync(file).mode & 0o777).toBe(0o600);
      const old = openDatabase<Tables>({ file, readOnly: true });
      expect(await old.selectFrom('first').selectAll().execute()).toEqual([{ id: 'kept' }]);
      expect(await old.selectFrom('schema_version').selectAll().execute()).toEqual([
        { name: 'a', version: 1 },
      ]);
      await old.destroy();
    }
  });

  test('applies each step once when several processes begin together', async () => {
    if (engine === 'SQLite') return;
    const at = await place();
    let applied = 0;
    const counting: Migrations['steps'][number] = async (transaction) => {
      await create('first')(transaction);
      applied += 1;
    };
    const databases = Array.from({ length: 8 }, () => openDatabase<Tables>(at));
    await Promise.all(
      databases.map((database) => migrate(database, { name: 'a', steps: [counting, create('second')] })),
    );
    expect(applied).toBe(1);
    for (const database of databases) await database.destroy();
  });
});
