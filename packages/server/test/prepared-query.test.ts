import { describe, expect, test } from '@jest/globals';
import { type Database, prepareQuery } from '../src/index.ts';
import { engines } from './postgres.ts';
import { openRecordStore, type Tables } from './record-store.ts';

const insertThing = prepareQuery((store: Database<Tables>, row: { id: string; note: string }) =>
  store
    .insertInto('thing')
    .values({ id: row.id, note: row.note })
    .onConflict((conflict) => conflict.doNothing()),
);

const findThing = prepareQuery((store: Database<Tables>, values: { note: string; id: string }) =>
  store.selectFrom('thing').selectAll().where('id', '=', values.id).where('note', '=', values.note),
);

describe.each(engines)('prepareQuery on $engine', ({ place }) => {
  test('asks with the values of each call, whatever their order was when it was built', async () => {
    const store = await openRecordStore({ place: await place() });
    for (const id of ['a', 'b']) await store.commit.write((tx) => insertThing(tx, { id, note: `of ${id}` }));
    expect((await findThing(store.database, { id: 'a', note: 'of a' })).rows).toEqual([
      { id: 'a', note: 'of a' },
    ]);
    expect((await findThing(store.database, { id: 'b', note: 'of b' })).rows).toEqual([
      { id: 'b', note: 'of b' },
    ]);
    expect((await findThing(store.database, { id: 'b', note: 'of a' })).rows).toEqual([]);
    await store.close();
  });

  test('tells how many rows were written', async () => {
    const store = await openRecordStore({ place: await place() });
    const write = () => store.commit.write((tx) => insertThing(tx, { id: 'a', note: '' }));
    expect((await write()).changed).toBe(1);
    expect((await write()).changed).toBe(0);
    await store.close();
  });

  test('keeps nothing of an answer: what was changed in between is seen', async () => {
    const store = await openRecordStore({ place: await place() });
    await store.commit.write((tx) => insertThing(tx, { id: 'a', note: 'first' }));
    expect((await findThing(store.database, { id: 'a', note: 'first' })).rows).toHaveLength(1);
    await store.commit.write((tx) => tx.updateTable('thing').set({ note: 'second' }).execute());
    expect((await findThing(store.database, { id: 'a', note: 'first' })).rows).toHaveLength(0);
    await store.close();
  });

  test('takes a value as a value, never as text of the query', async () => {
    const store = await openRecordStore({ place: await place() });
    const hostile = "'; drop table thing; --";
    await store.commit.write((tx) => insertThing(tx, { id: hostile, note: hostile }));
    expect((await findThing(store.database, { id: hostile, note: hostile })).rows).toHaveLength(1);
    await store.close();
  });
});
