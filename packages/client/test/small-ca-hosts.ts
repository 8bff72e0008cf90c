/** How the hosts of the CA for tests stand: what their reports said, and the checkpoint's commitment to their heads. */
import {
  type ChainHead,
  digestHeads,
  digestServiceHeads,
  HOST_HEADS,
  SERVICE_HEADS,
} from '@beacon/protocol/checkpoint';
import type { SmallHost } from './small-ca-knobs.ts';

export function standingOf({ id }: SmallHost, head: ChainHead | undefined, at: Date): object {
  const report = {
    seen: at.toISOString(),
    clock_off_seconds: -3,
    versions: { beacon: '0.1.0', sshd: 'OpenSSH_9.2p1' },
    trust: { root: 2, status: 7 },
    contract: 'c'.repeat(64),
    head,
    head_refused: null,
  };
  return {
    id,
    state: 'enabled',
    report: head === undefined ? null : report,
    certificate: { serial: '17', authority: `SHA256:${'B'.repeat(43)}`, valid_before: at.toISOString() },
    warnings: head === undefined ? ['unseen', 'certificate-ending'] : [],
  };
}

type Heads = Readonly<Record<string, ChainHead>>;

export function headsOf(heads: Heads, services: Heads): Record<string, ChainHead> {
  const named = Object.entries(heads).map(([host, head]) => ({ host, head }));
  const ofServices = Object.entries(services).map(([service, head]) => ({ service, head }));
  return {
    ...(named.length === 0 ? {} : { [HOST_HEADS]: { seq: 1, hash: digestHeads(named) } }),
    ...(ofServices.length === 0 ? {} : { [SERVICE_HEADS]: { seq: 1, hash: digestServiceHeads(ofServices) } }),
  };
}

export function servicesOf(services: Heads, at: Date): object[] {
  const seen = at.toISOString();
  return Object.entries(services).map(([service, head]) => ({ service, seen, head, head_refused: null }));
}
