/**
 * Queries of the path that every request takes. Building and compiling one costs more than running it, so these are
 * compiled once for each kind of store and then run with the values of the moment. What is asked is written with the
 * query builder as everywhere else; nothing of an answer is kept.
 */
import type { Compilable, CompiledQuery } from 'kysely';
import { type Database, isShared } from './database.ts';
import { SqliteStatements } from './sqlite.ts';

/** A store or a transaction, whatever its tables. */
export type QueriedStore = Pick<Database<unknown>, 'getExecutor' | 'executeQuery' | 'isTransaction'>;

/** What a query answers: rows, or for one that writes, how many it wrote. */
export interface PreparedAnswer<Row> {
  readonly rows: readonly Row[];
  readonly changed: number;
}

/** Asks with these values. Must be given a store that has the tables of the query. */
export type PreparedQuery<Values, Row> = (
  store: QueriedStore,
  values: Values,
) => Promise<PreparedAnswer<Row>>;

type Value = string | number | null;

/** Stands in a compiled query where a value belongs. */
class Place {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/**
 * `build` is called once for each kind of store, with places instead of values: it may pass them on to the query, and
 * must not look at them. `prepareQuery((store: Readable<Tables>, values: { id: string }) => store.selectFrom(…)…)`.
 */
export function prepareQuery<Tables, Values extends { readonly [Name in keyof Values]: Value }, Row>(
  build: (store: Database<Tables>, values: Values) => Compilable<Row>,
): PreparedQuery<Values, Row> {
  const places = new Proxy({}, { get: (_, name) => new Place(String(name)) }) as Values;
  const compiled = new Map<boolean, CompiledQuery<Row>>();
  return async (store, values) => {
    const shared = isShared(store);
    let query = compiled.get(shared);
    if (query === undefined) {
      query = build(store as unknown as Database<Tables>, places).compile();
      compiled.set(shared, query);
    }
    const parameters = query.parameters.map((parameter) =>
      parameter instanceof Place ? values[parameter.name as keyof Values] : parameter,
    );
    const { adapter } = store.getExecutor();
    if (adapter instanceof SqliteStatements) {
      const answer = adapter.run<Row>(query.sql, parameters, store.isTransaction);
      if (answer !== undefined) return answer;
    }
    const { rows, numAffectedRows } = await store.executeQuery<Row>({ ...query, parameters });
    return { rows, changed: Number(numAffectedRows ?? 0) };
  };
}
