/**
 * `POST /v1/heads`: how far a service's own chain of records goes, and the hosts' chains as it saw them (DESIGN.md sections
 * 3.9 and 8). A head only moves forward, and stands in the CA's signed checkpoints: a service that cuts or rewrites its
 * records afterwards can be shown to have done so.
 */
import type { ChainHead } from '@beacon/protocol/checkpoint';
import type { HeadsAnswer, HeadsRequest } from '@beacon/protocol/http/heads';
import type { Caller } from './access-token.ts';
import type { Ca, Tx } from './ca.ts';
import { CaError } from './error.ts';
import { SERVICE_HEADS_COUNTER } from './host-heads.ts';
import { takeWitness } from './host-witness.ts';
import type { ServiceHeadRow } from './reported-heads-store.ts';
import { requireServiceWith } from './services.ts';
import { bumpCounter } from './store.ts';
import { write } from './write.ts';

/** Reports of one service overtake each other; and one record of refused heads in this time. */
const APART_MS = 60_000;

/** Throws CaError `head-refused` or `head-overtaken` with the last head in the denial, `service-refused`, `grant-unknown`. */
export async function takeHeads(ca: Ca, caller: Caller, body: HeadsRequest): Promise<HeadsAnswer> {
  requireServiceWith(ca, caller.service, 'run-certificates');
  const refusal = await write(ca, caller, async (tx) => {
    // Values, so that their records become durable with this group.
    for (const seen of body.hosts) {
      const refused = await takeWitness(ca, tx, caller, seen);
      if (refused !== undefined) return refused;
    }
    return takeOwn(ca, tx, caller, body.head);
  });
  if (refusal !== undefined) throw refusal;
  return { head: body.head };
}

async function takeOwn(ca: Ca, tx: Tx, { service }: Caller, head: ChainHead): Promise<CaError | undefined> {
  const before = await tx
    .selectFrom('service_heads')
    .selectAll()
    .where('service', '=', service)
    .executeTakeFirst();
  const isSame = before?.seq === head.seq && before.hash === head.hash;
  if (before !== undefined && head.seq <= before.seq && !isSame) {
    const denial = { seq: before.seq, hash: before.hash };
    if (head.seq < before.seq && isRecent(ca, before.seen_at))
      return new CaError(
        'head-overtaken',
        `a later head, ${before.seq}, was reported just now: send that of now`,
        {
          denial,
        },
      );
    await recordAlarm(ca, tx, before, head);
    return new CaError(
      'head-refused',
      `this head does not extend the last one, ${before.seq}: tell an administrator`,
      { denial },
    );
  }
  const row = { ...head, seen_at: ca.now().getTime(), refused_at: before?.refused_at ?? null };
  await tx
    .insertInto('service_heads')
    .values({ service, ...row })
    .onConflict((conflict) => conflict.column('service').doUpdateSet(row))
    .execute();
  if (!isSame) await bumpCounter(tx, SERVICE_HEADS_COUNTER);
  return undefined;
}

function isRecent(ca: Ca, at: number): boolean {
  return Math.abs(ca.now().getTime() - at) < APART_MS;
}

async function recordAlarm(ca: Ca, tx: Tx, before: ServiceHeadRow, head: ChainHead): Promise<void> {
  if (before.refused_at !== null && isRecent(ca, before.refused_at)) return;
  await ca.records.append(tx, {
    kind: 'service-head-refused',
    service: before.service,
    facts: {
      code: 'head-refused',
      last: `${before.seq}:${before.hash}`,
      reported: `${head.seq}:${head.hash}`,
    },
  });
  await tx
    .updateTable('service_heads')
    .set({ refused_at: ca.now().getTime() })
    .where('service', '=', before.service)
    .execute();
}
