/**
 * Requests for certificates, made before anything is measured: each with a fresh key, its own proof of possession, its
 * own parameters and its own DPoP proof, as runs have them, so that no request repeats another one.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createProof, importProofKey } from '@beacon/client';
import { formatPublicKeyLine } from '@beacon/ssh/public-key';
import { createSigner } from '@beacon/ssh/signature';
import { signMessage } from '@beacon/ssh/sshsig';
import { hosts, type Login } from './served-ca.ts';

export interface PreparedRequest {
  readonly accessToken: string;
  readonly proof: string;
  readonly body: Buffer;
}

/** `run`: a command with its undo. `ssh`: a personal login. */
export type RequestKind = 'run' | 'ssh';

export const PATH = '/v1/certificates';

/** A proof counts for 60 s on either side of its time: dated ahead, it lasts through making the rest and the run. */
const AHEAD_MS = 25_000;
/** Proofs are made for no longer than this, else the first would be too old before the run ends. */
const MOST_MS = 40_000;
/** Made at the same time, so that all processors take part. */
const TOGETHER = 64;

/** Up to `count` requests of these people in turn, as many as can be made in time; good for the next 40 seconds. */
export async function prepareRequests(
  url: string,
  logins: readonly Login[],
  count: number,
  kind: RequestKind = 'run',
): Promise<PreparedRequest[]> {
  const callers = logins.map(({ accessToken, key }) => ({ accessToken, proofKey: importProofKey(key) }));
  const unproven: { body: Buffer; keyProof: string }[] = [];
  for (let number = 0; number < count; number++) unproven.push(await makeBody(number, kind));
  const requests: PreparedRequest[] = [];
  const begin = performance.now();
  while (requests.length < count && performance.now() - begin < MOST_MS) {
    const some = unproven.slice(requests.length, requests.length + TOGETHER);
    const made = some.map(async ({ body, keyProof }, index): Promise<PreparedRequest> => {
      const caller = callers[(requests.length + index) % callers.length];
      if (caller === undefined) throw new Error('nobody is logged in');
      const { accessToken, proofKey } = caller;
      const now = new Date(Date.now() + AHEAD_MS);
      const proof = await createProof(proofKey, {
        method: 'POST',
        url: `${url}${PATH}`,
        now,
        accessToken,
        body,
        keyProof,
      });
      return { accessToken, proof, body };
    });
    requests.push(...(await Promise.all(made)));
  }
  return requests;
}

async function makeBody(number: number, kind: RequestKind): Promise<{ body: Buffer; keyProof: string }> {
  const signer = createSigner(generateKeyPairSync('ed25519').privateKey);
  const host = hosts[number % hosts.length] ?? '';
  const body = Buffer.from(
    JSON.stringify({
      v: 1,
      host,
      login: kind === 'run' ? 'beacon' : 'deploy',
      public_key: formatPublicKeyLine(signer.publicKey),
      lifetime_seconds: 900,
      ...(kind === 'run' ? { commands: [installation(number)] } : {}),
    }),
  );
  return { body, keyProof: (await signMessage(signer, 'certificate@beacon', body)).toString('base64url') };
}

function installation(number: number) {
  const name = `runner-${number}-${randomBytes(4).toString('hex')}`;
  const salt = () => randomBytes(32).toString('base64url');
  return {
    command: 'runner.install',
    params: JSON.stringify({ name, version: `2.${number % 400}.${number % 7}` }),
    salt: salt(),
    commitments: {},
    undo: { command: 'runner.remove', params: JSON.stringify({ name }), salt: salt(), commitments: {} },
  };
}
