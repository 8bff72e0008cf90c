/**
 * The one way in which a request of a person changes the store: its proof is used up in the same transaction, so a
 * replay can never win a race, and the session and the person are looked at once more where nothing can come between.
 */
import { consumeProof, kindOf, type RefusedCaller, type Route, ServerError } from '@beacon/server';
import type { Caller } from './access-token.ts';
import type { Ca, Tx } from './ca.ts';
import { CaError } from './error.ts';
import { isDisabled } from './persons.ts';

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
    return proofReplayed();
  }
  if (!(await ca.sessions.isAlive(tx, caller.sessionId, ca.now()))) {
    return new CaError('session-ended', 'your session has ended: run `beacon login`');
  }
  if (await isDisabled(ca, caller.person, tx)) {
    return new CaError('person-disabled', 'an administrator has disabled you at this CA: ask them why');
  }
  return undefined;
}

export function proofReplayed(): CaError {
  return new CaError('proof-replayed', 'this DPoP proof was used before: make a new one for each request');
}

/** What a record of a refusal says beyond who was refused. */
export interface RefusalFacts {
  readonly host?: string;
  readonly facts?: Readonly<Record<string, string>>;
  readonly ip: string;
}

const recorded = new WeakSet<Error>();

/**
 * Keeps one record of a refusal, with the rule that refused; the proof is used up with it. An error that has its record
 * gets no second one. Resolves when it is durable.
 */
export async function recordRefusal(
  ca: Ca,
  caller: Caller,
  error: CaError | ServerError,
  { host, facts, ip }: RefusalFacts,
): Promise<void> {
  if (recorded.has(error)) return;
  await ca.commit.write(async (tx) => {
    await consumeProof(tx, caller.proof);
    await ca.records.append(tx, {
      kind: 'refused',
      person: caller.person,
      service: caller.service,
      ...(host === undefined ? {} : { host }),
      facts: { code: error.code, ...facts, source: await ca.records.hide(tx, ip, caller.person) },
    });
  });
  recorded.add(error);
}

/** The route, every refusal of a known caller recorded: as its own work did, else with method and path. */
export function recordingRefusals(ca: Ca, route: Route): Route {
  if (route.access === 'public') return route;
  return {
    ...route,
    handle: async (input) => {
      try {
        return await route.handle(input);
      } catch (error) {
        const { method, path, ip } = input.request;
        if (error instanceof CaError)
          await recordRefusal(ca, input.caller as Caller, error, { facts: { method, path }, ip });
        throw error;
      }
    },
  };
}

/**
 * Records that a known caller sent what cannot be read. Who is over a limit leaves a log line alone, so that asking too
 * often fills no disk; neither do strangers leave records, for anybody can be one.
 */
export async function recordUnreadable(
  ca: Ca,
  { caller, error, request: { method, path, ip } }: RefusedCaller<Caller>,
): Promise<void> {
  if (error instanceof ServerError && kindOf(error.code) === 'invalid')
    await recordRefusal(ca, caller, error, { facts: { method, path }, ip });
}
