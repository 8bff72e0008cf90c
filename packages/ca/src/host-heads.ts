/**
 * The heads of the hosts' and the services' own records in the CA's signed checkpoints (DESIGN.md sections 3.9 and 8): each kind as
 * one digest, with a number that rises whenever one changes. So a checkpoint is as short for ten thousand hosts as for one and
 * tells strangers nothing of them; who has `ca.hosts` reads the heads and can hold them against it.
 */
import {
  type ChainHead,
  digestHeads,
  digestServiceHeads,
  HOST_HEADS,
  SERVICE_HEADS,
} from '@beacon/protocol/checkpoint';
import type { Readable } from './ca.ts';
import { readCounter } from './store.ts';

/** How often a head has changed. */
export const HEADS_COUNTER = 'host_heads';

/** How often a head of a service has changed. */
export const SERVICE_HEADS_COUNTER = 'service_heads';

type ReadHead = (store: Readable) => Promise<ChainHead | undefined>;

/** What stands under `heads`; a digest is made again when a head of its kind has changed. */
export function createHeadsReader(): (store: Readable) => Promise<Readonly<Record<string, ChainHead>>> {
  const readHosts = keepWhileSame(HEADS_COUNTER, async (store) => {
    const rows = await store.selectFrom('host_reports').select(['host', 'head_seq', 'head_hash']).execute();
    return digestHeads(
      rows.map(({ host, head_seq: seq, head_hash: hash }) => ({ host, head: { seq, hash } })),
    );
  });
  const readServices = keepWhileSame(SERVICE_HEADS_COUNTER, async (store) => {
    const rows = await store.selectFrom('service_heads').select(['service', 'seq', 'hash']).execute();
    return digestServiceHeads(rows.map(({ service, ...head }) => ({ service, head })));
  });
  return async (store) => {
    const [hosts, services] = [await readHosts(store), await readServices(store)];
    return {
      ...(hosts === undefined ? {} : { [HOST_HEADS]: hosts }),
      ...(services === undefined ? {} : { [SERVICE_HEADS]: services }),
    };
  };
}

function keepWhileSame(counter: string, digest: (store: Readable) => Promise<string>): ReadHead {
  let kept: ChainHead | undefined;
  return async (store) => {
    const seq = Number(await readCounter(store, counter));
    if (seq === 0) return undefined;
    if (kept?.seq !== seq) kept = { seq, hash: await digest(store) };
    return kept;
  };
}
