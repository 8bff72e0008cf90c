/**
 * The heads of the hosts' own records, and of services', as far as the CA tells them: they must be those that its signed
 * checkpoint commits to, and none of a host may have gone back since this machine looked last. Of a host that was enrolled anew the records begin anew,
 * which the CA's own records tell.
 */
import { type CaApi, ClientError } from '@beacon/client';
import {
  type ChainHead,
  type Checkpoint,
  digestHeads,
  digestServiceHeads,
  HOST_HEADS,
  SERVICE_HEADS,
} from '@beacon/protocol/checkpoint';
import { CliError } from './error.ts';

export type HostHeads = ReadonlyMap<string, ChainHead>;

const TRIES = 5;

/**
 * A checkpoint and the heads that it commits to; without the right to administer hosts no heads. Throws CliError
 * `records-broken` when they do not fit.
 */
export async function readHostHeads(
  api: CaApi,
  readCheckpoint: () => Promise<Checkpoint>,
): Promise<{ checkpoint: Checkpoint; heads: HostHeads | undefined }> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const heads = await readReported(api);
    const services = heads === undefined ? [] : await api.serviceHeads();
    const checkpoint = await readCheckpoint();
    if (heads === undefined) return { checkpoint, heads };
    const shown = {
      [HOST_HEADS]: digestHeads([...heads].map(([host, head]) => ({ host, head }))),
      [SERVICE_HEADS]: digestServiceHeads(services),
    };
    const isCommitted = Object.entries(shown).every(([kind, hash]) => {
      const committed = checkpoint.heads[kind];
      return committed === undefined || committed.hash === hash;
    });
    if (isCommitted) return { checkpoint, heads };
  }
  throw broken(
    'the heads of hosts and services that the CA shows are not those that its signed checkpoint commits to',
  );
}

async function readReported(api: CaApi): Promise<HostHeads | undefined> {
  try {
    const hosts = await api.hostReports();
    return new Map(hosts.flatMap(({ id, report }) => (report === undefined ? [] : [[id, report.head]])));
  } catch (error) {
    if (error instanceof ClientError && error.kind === 'denied') return undefined;
    throw error;
  }
}

/** Throws CliError `records-broken` for a host whose head went back; `renewed`: those enrolled since. */
export function compareHeads(before: HostHeads, now: HostHeads, renewed: ReadonlySet<string>): void {
  for (const [host, was] of before) {
    if (renewed.has(host)) continue;
    const is = now.get(host);
    const holds = is !== undefined && (is.seq > was.seq || (is.seq === was.seq && is.hash === was.hash));
    if (!holds)
      throw broken(
        `the records of ${host} stood at ${was.seq} when this machine looked last, and the CA now names ${is === undefined ? 'none' : `${is.seq}${is.seq === was.seq ? ', another one' : ''}`}`,
      );
  }
}

function broken(why: string): CliError {
  return new CliError(
    'records-broken',
    'internal',
    `the CA's records do not verify: ${why}. Keep this output, trust no certificate of this CA until it is explained`,
  );
}
