/**
 * The one way in which a request of a person changes the store: its proof is used up in the same transaction, so a
 * replay can never win a race, and the session and the person are looked at once more where nothing can come between.
 */
import type { Caller } from './access-token.ts';
import type { Ca, Tx } from './ca.ts';
import { CaError } from './error.ts';
import { isDisabled } from './persons.ts';
import { consumeProof } from './proof-store.ts';

/** Throws CaError `proof-replayed`, `session-ended` or `person-disabled`, and what `unit` throws; its effects are then nil. */
export async function write<T>(ca: Ca, caller: Caller, unit: (tx: Tx) => Promise<T>): Promise<T> {
  const done = await ca.commit.write<{ value: T } | { refusal: CaError }>(async (tx) => {
    const refusal = await refuseCaller(ca, caller, tx);
    return refusal === undefined ? { value: await unit(tx) } : { refusal };
  });
  if ('refusal' in done) throw done.refusal;
  return done.value;
}

/** A value and not an exception: a flood of replays must not undo the group that it shares a commit with. */
async function refuseCaller(ca: Ca, caller: Caller, tx: Tx): Promise<CaError | undefined> {
  if (!(await consumeProof(tx, caller.proof))) {
    return new CaError('proof-replayed', 'this DPoP proof was used before: make a new one for each request');
  }
  if (!(await ca.sessions.isAlive(tx, caller.sessionId, ca.now()))) {
    return new CaError('session-ended', 'your session has ended: run `beacon login`');
  }
  if (await isDisabled(ca, caller.person, tx)) {
    return new CaError('person-disabled', 'an administrator has disabled you at this CA: ask them why');
  }
  return undefined;
}

/**
 * Keeps one record of a refusal, with the rule that refused; the proof is used up with it. Resolves when it is durable.
 */
export async function recordRefusal(
  ca: Ca,
  caller: Caller,
  refusal: { code: string; host?: string; facts?: Record<string, string>; ip: string },
): Promise<void> {
  await ca.commit.write(async (tx) => {
    await consumeProof(tx, caller.proof);
    await ca.records.append(tx, {
      kind: 'refused',
      person: caller.person,
      service: caller.service,
      ...(refusal.host === undefined ? {} : { host: refusal.host }),
      facts: {
        code: refusal.code,
        ...refusal.facts,
        source: await ca.records.hide(tx, refusal.ip, caller.person),
      },
    });
  });
}
