/**
 * What a machine says to the CA for itself: a body signed by its own host key (`@beacon/protocol/host-request` has the
 * wire). Unknown hosts, disabled ones and wrong signatures are refused in the same words, for the asker is a stranger.
 */
import { consumeProof, type RequestFacts } from '@beacon/server';
import { isSameKey, type PublicKey, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { verifyMessageAside } from '@beacon/ssh/sshsig';
import type { Ca, Tx } from './ca.ts';
import { CaError } from './error.ts';
import { type Host, verifiedHost } from './hosts.ts';
import { readHost } from './store.ts';

/** What of a request is looked at. */
export interface SignedRequest {
  readonly rawBody: Buffer;
  readonly request: Pick<RequestFacts, 'headers' | 'ip'>;
}

/** How far the time of a request may be from the CA's. */
const WINDOW_MS = 300_000;
const BASE64 = /^[A-Za-z0-9+/]{64,8192}={0,2}$/;

/** The key that signed the exact body, by the header. Throws CaError `host-signature-invalid`. */
export async function readSigner(
  { rawBody, request }: SignedRequest,
  header: string,
  namespace: string,
): Promise<PublicKey> {
  const text = request.headers[header];
  if (text === undefined || !BASE64.test(text)) throw unsigned();
  try {
    return await verifyMessageAside({ signature: Buffer.from(text, 'base64'), namespace, message: rawBody });
  } catch (error) {
    throw unsigned(error);
  }
}

/** Throws CaError `host-signature-invalid` unless this key signed the body. */
export async function requireSignedBy(
  key: PublicKey,
  signed: SignedRequest,
  header: string,
  namespace: string,
): Promise<void> {
  if (!isSameKey(await readSigner(signed, header, namespace), key)) throw unsigned();
}

/** The host, its row verified, when it is enabled and signed this. Throws CaError `host-signature-invalid`. */
export async function requireHost(
  ca: Ca,
  id: string,
  signer: PublicKey,
  tx: Tx,
): Promise<Host & { readonly key: PublicKey }> {
  const row = await readHost(tx, id);
  if (row === undefined || row.state !== 'enabled') throw unsigned();
  const host = await verifiedHost(ca, row, tx);
  const { key } = parsePublicKeyLine(host.host_key);
  if (!isSameKey(signer, key)) throw unsigned();
  return { ...host, key };
}

/** Throws CaError `host-request-stale` before anything is read; the CA's time is in the denial. */
export function requireFresh(ca: Ca, at: string): void {
  const now = ca.now();
  if (Math.abs(now.getTime() - Date.parse(at)) <= WINDOW_MS) return;
  throw new CaError(
    'host-request-stale',
    "the request is not of this time: set the machine's clock, or take the time of the CA's last answer",
    { denial: { now: now.toISOString() } },
  );
}

/** Uses the nonce up, in the transaction of the work. Throws CaError `host-request-replayed`. */
export async function useNonce(ca: Ca, tx: Tx, host: string, nonce: string): Promise<void> {
  const expiresAt = new Date(ca.now().getTime() + 2 * WINDOW_MS);
  if (await consumeProof(tx, { thumbprint: `host/${host}`, jti: nonce, expiresAt })) return;
  throw new CaError('host-request-replayed', 'this request was made before: make a new nonce for each');
}

function unsigned(cause?: unknown): CaError {
  return new CaError(
    'host-signature-invalid',
    'no enabled host with this id has signed these exact bytes for this purpose: is the host key the one that was enrolled?',
    cause === undefined ? {} : { cause },
  );
}
