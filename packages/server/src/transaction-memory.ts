/**
 * What is known of a transaction's own effects, so that it need not be read back. It goes with the transaction, and is
 * forgotten when a part of the transaction is undone.
 */
const memories = new WeakMap<object, Map<object, unknown>>();

/** Keeps a value for as long as the transaction's effects stand. */
export function remember<Value>(transaction: object, about: object, value: Value): void {
  const memory = memories.get(transaction);
  if (memory === undefined) memories.set(transaction, new Map([[about, value]]));
  else memory.set(about, value);
}

/** The value that was kept about this; undefined when there is none. */
export function recall<Value>(transaction: object, about: object): Value | undefined {
  return memories.get(transaction)?.get(about) as Value | undefined;
}

/** To be called when a part of the transaction was undone. */
export function forget(transaction: object): void {
  memories.delete(transaction);
}
