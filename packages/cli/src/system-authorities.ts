/**
 * Requests that also believe the certificate authorities of the machine's own store, as curl does: a host's timer has no
 * environment in which somebody could name the file of a private one. Node alone believes the list that it was built with.
 */
import tls from 'node:tls';
import { defaultOutside, type Outside } from '@beacon/client';

/** The machine's store is read when a server is not trusted without it, which takes a tenth of a second. */
export function outsideOfMachine(): Outside {
  const outside = defaultOutside();
  return {
    ...outside,
    fetch: async (...request) => {
      try {
        return await outside.fetch(...request);
      } catch (error) {
        // Nothing was sent: the server's certificate comes before the request.
        if (!isUntrusted(error) || !trustMachineStore()) throw error;
        return outside.fetch(...request);
      }
    },
  };
}

const NO_ISSUER: readonly unknown[] = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
];

function isUntrusted(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && 'code' in cause && NO_ISSUER.includes(cause.code);
}

/** Whether the process trusts more than before. */
function trustMachineStore(): boolean {
  // Node 22.14 has neither function; the archive for hosts brings a Node that has both.
  if (typeof tls.setDefaultCACertificates !== 'function') return false;
  const before = tls.getCACertificates('default');
  const all = new Set([...before, ...tls.getCACertificates('system')]);
  if (all.size === new Set(before).size) return false;
  tls.setDefaultCACertificates([...all]);
  return true;
}
