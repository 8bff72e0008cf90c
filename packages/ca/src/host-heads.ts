/**
 * The heads of the hosts' own records in the CA's signed checkpoints (DESIGN.md sections 3.9 and 8): all of them as one
 * digest, with a number that rises whenever one changes. So a checkpoint is as short for ten thousand hosts as for one and
 * tells strangers nothing of them; who has `ca.hosts` reads the heads and can hold them against it.
 */
import { type ChainHead, digestHeads, HOST_HEADS } from '@beacon/protocol/checkpoint';
import type { Readable } from './ca.ts';
import { readCounter } from './store.ts';

/** How often a head has changed. */
export const HEADS_COUNTER = 'host_heads';

/** What stands under `heads`; the digest is made again when a head has changed. */
export function createHeadsReader(): (store: Readable) => Promise<Readonly<Record<string, ChainHead>>> {
  let kept: ChainHead | undefined;
  return async (store) => {
    const changes = Number(await readCounter(store, HEADS_COUNTER));
    if (changes === 0) return {};
    if (kept?.seq !== changes) {
      const rows = await store.selectFrom('host_reports').select(['host', 'head_seq', 'head_hash']).execute();
      const heads = rows.map(({ host, head_seq: seq, head_hash: hash }) => ({ host, head: { seq, hash } }));
      kept = { seq: changes, hash: digestHeads(heads) };
    }
    return { [HOST_HEADS]: kept };
  };
}
