/**
 * The CA's revocation list, for ssh's `RevokedHostKeys`: a host certificate that was taken back vouches for nobody. The
 * list comes with every certificate, so it is as new as that; a damaged one is refused here, since ssh would believe a
 * list that was cut between two sections.
 */
import type { CaApi } from '@beacon/client';
import { decodeKrl } from '@beacon/ssh/krl';
import { CliError } from './error.ts';

/** The list's bytes, whole. Throws CliError `answer-malformed` for a list that is cut, ClientError when there is none. */
export async function fetchRevokedHosts(api: Pick<CaApi, 'revocationList'>): Promise<Buffer> {
  const bytes = await api.revocationList();
  try {
    if (decodeKrl(bytes).sealed) return bytes;
  } catch (cause) {
    throw damaged(cause);
  }
  throw damaged();
}

function damaged(cause?: unknown): CliError {
  return new CliError(
    'answer-malformed',
    'internal',
    "the CA's revocation list is damaged: try again, then tell its operator",
    {
      cause,
    },
  );
}
