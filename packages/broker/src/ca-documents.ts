/**
 * What the CA publishes for everybody and each run needs: its keys, and its revocation list for the keys of hosts. Read once
 * for all runs of a few seconds, so a run costs no requests for them, and a key that is taken away counts here that much
 * later, well within the 90 seconds in which hosts hear of it (DESIGN.md section 6).
 */
import type { CaApi } from '@beacon/client';

/** The part of the CA's API that is the same whoever asks. */
export type CaDocuments = Pick<CaApi, 'authorityKeys' | 'revocationList'>;

/** How old an answer may be, from when it was asked for. */
const KEPT_MS = 5_000;

/** One memory for all; `share` lets an API read through it. */
export interface SharedDocuments {
  share<Api extends CaDocuments>(api: Api): Api;
}

export function createSharedDocuments(now: () => Date): SharedDocuments {
  const keys = createKept<Awaited<ReturnType<CaApi['authorityKeys']>>>(now);
  const list = createKept<Buffer>(now);
  return {
    share: (api) => ({
      ...api,
      authorityKeys: () => keys(() => api.authorityKeys()),
      revocationList: () => list(() => api.revocationList()),
    }),
  };
}

/** Who comes while it is being read waits for the same answer; what failed is read anew by the next. */
function createKept<Value>(now: () => Date): (read: () => Promise<Value>) => Promise<Value> {
  let kept: { readonly at: number; readonly value: Promise<Value> } | undefined;
  return (read) => {
    const at = now().getTime();
    const age = kept === undefined ? KEPT_MS : at - kept.at;
    if (kept !== undefined && age >= 0 && age < KEPT_MS) return kept.value;
    const made = { at, value: read() };
    kept = made;
    made.value.catch(() => {
      if (kept === made) kept = undefined;
    });
    return made.value;
  };
}
