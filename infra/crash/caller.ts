/** Somebody who is logged in at the CA and asks it things: requests are made whole, so that the same one can be shown again. */
import {
  createProof,
  discoverCa,
  finishDeviceLogin,
  generateProofKey,
  type ProofKey,
  startDeviceLogin,
} from '@beacon/client';
import { generateKey } from '@beacon/ssh/key';
import { fingerprint, formatPublicKeyLine } from '@beacon/ssh/public-key';
import { createSigner } from '@beacon/ssh/signature';
import { signMessage } from '@beacon/ssh/sshsig';
import { approveLogin } from '../demo/approve-login.ts';

/** How long a login is used: an access token is good for ten minutes. */
const FRESH_MS = 480_000;

export interface Caller {
  readonly name: string;
  readonly key: ProofKey;
  readonly token: string;
  readonly since: number;
}

/** A request with its proof, ready to be sent, once or again. */
export interface Prepared {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly raw: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Reply {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** How often something is asked of a server that runs. */
const ATTEMPTS = 3;

/**
 * Asks a server that runs until there is an answer: each of its lives has the same port, so a connection that the client
 * kept may be one to the life before. Throws what the last attempt threw.
 */
export async function insist<T>(ask: () => Promise<T | undefined>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    }
    if (attempt === ATTEMPTS) throw new Error('the CA runs and gives no answer');
  }
}

/** A whole login by the device grant, the browser played by a cookie jar. */
export function logIn(caUrl: string, name: string): Promise<Caller> {
  return insist(() => tryLogIn(caUrl, name));
}

async function tryLogIn(caUrl: string, name: string): Promise<Caller> {
  const key = generateProofKey();
  const client = {
    metadata: await discoverCa(caUrl),
    clientId: 'beacon-cli',
    proofKey: key,
    resources: ['urn:beacon:ca'],
  };
  const begun = await startDeviceLogin(client);
  await approveLogin(begun, name);
  const tokens = await finishDeviceLogin(client, { ...begun, intervalMs: 0 });
  return { name, key, token: tokens.accessToken, since: Date.now() };
}

export function isFresh(caller: Caller): boolean {
  return Date.now() - caller.since < FRESH_MS;
}

export async function prepare(
  caUrl: string,
  who: Caller,
  method: Prepared['method'],
  path: string,
  raw?: string,
  keyProof?: string,
): Promise<Prepared> {
  const proof = await createProof(who.key, {
    method,
    url: `${caUrl}${path}`,
    now: new Date(),
    accessToken: who.token,
    ...(raw === undefined ? {} : { body: Buffer.from(raw) }),
    ...(keyProof === undefined ? {} : { keyProof }),
  });
  const type = raw === undefined ? {} : { 'content-type': 'application/json' };
  return { method, path, raw, headers: { ...type, authorization: `DPoP ${who.token}`, dpop: proof } };
}

/** A request for a certificate over a key that nobody had before; answers the key's fingerprint too. */
export async function prepareCertificate(
  caUrl: string,
  who: Caller,
  host: string,
): Promise<{ readonly request: Prepared; readonly publicKey: string }> {
  const signer = createSigner(generateKey('ssh-ed25519').privateKey);
  const raw = JSON.stringify({
    v: 1,
    host,
    login: 'deploy',
    public_key: formatPublicKeyLine(signer.publicKey),
    lifetime_seconds: 3600,
  });
  const keyProof = (await signMessage(signer, 'certificate@beacon', Buffer.from(raw))).toString('base64url');
  const request = await prepare(caUrl, who, 'POST', '/v1/certificates', raw, keyProof);
  return { request, publicKey: fingerprint(signer.publicKey) };
}

/** Sends a request; undefined when no whole answer came. */
export async function send(caUrl: string, request: Prepared): Promise<Reply | undefined> {
  try {
    const answer = await fetch(`${caUrl}${request.path}`, {
      method: request.method,
      headers: request.headers,
      ...(request.raw === undefined ? {} : { body: request.raw }),
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  } catch {
    return undefined;
  }
}

/** Registers a host that is not there, for certificates to be asked for. Throws when the CA refuses. */
export async function addHost(caUrl: string, id: string, administrator: Caller): Promise<void> {
  const raw = JSON.stringify({
    v: 1,
    id,
    address: '192.0.2.77',
    port: 22,
    logins: ['deploy'],
    labels: {},
    pools: ['web'],
    host_key: formatPublicKeyLine(generateKey('ssh-ed25519').publicKey),
  });
  const request = await prepare(caUrl, administrator, 'POST', '/v1/hosts', raw);
  const reply = await insist(() => send(caUrl, request));
  if (reply.status !== 201) throw new Error(`the CA did not take the host: ${JSON.stringify(reply)}`);
}
