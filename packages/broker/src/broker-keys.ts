/**
 * The broker's own secrets: the key that proves it to the CA (`private_key_jwt`) and the one that is half of what seals
 * the sessions of browsers. Neither opens a host, and neither makes a person of anybody.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import type { ServiceClient } from '@beacon/client';
import { readSecretFile } from '@beacon/server';
import { calculateJwkThumbprint, type JWK } from 'jose';
import { BrokerError } from './error.ts';

export interface BrokerKeys {
  readonly service: ServiceClient;
  /** 32 bytes. */
  readonly sealing: Buffer;
}

export interface MadeServiceKey {
  /** The text of the private JWK's file. */
  readonly text: string;
  /** The entry to review and paste into the CA's services file. */
  readonly entry: string;
}

const MAX_KEY_BYTES = 4_096;
const SEALING_BYTES = 32;

/** Throws BrokerError `keys` or ServerError `secret-file` naming the file and what to do. */
export function readBrokerKeys(files: {
  readonly service: string;
  readonly keyFile: string;
  readonly sealing: string;
}): BrokerKeys {
  return {
    service: readServiceKey(files.service, files.keyFile),
    sealing: readSealingKey(files.sealing),
  };
}

function readServiceKey(clientId: string, file: string): ServiceClient {
  const text = readSecretFile(file, { maxBytes: MAX_KEY_BYTES }).toString('utf8');
  try {
    const jwk = JSON.parse(text) as JWK;
    const privateKey = createPrivateKey({ key: jwk as never, format: 'jwk' });
    if (typeof jwk.kid === 'string' && isOurs(privateKey)) return { clientId, privateKey, keyId: jwk.kid };
  } catch {
    // Said below: node's own message might repeat what stands in the file.
  }
  throw new BrokerError(
    'keys',
    `${file} is not a private JWK (Ed25519 or P-256) with a kid: make one with \`beacon ca service key ${clientId}\`, and give the CA the entry that it prints`,
  );
}

function isOurs({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  return asymmetricKeyType === 'ed25519' || asymmetricKeyDetails?.namedCurve === 'prime256v1';
}

function readSealingKey(file: string): Buffer {
  const key = Buffer.from(readSecretFile(file, { maxBytes: 100 }).toString('utf8'), 'base64');
  if (key.length === SEALING_BYTES) return key;
  throw new BrokerError(
    'keys',
    `${file} does not hold ${SEALING_BYTES} bytes in base64: make one with \`openssl rand -base64 ${SEALING_BYTES}\`, which ends all logins by browser`,
  );
}

export function makeSealingKey(): string {
  return `${randomBytes(SEALING_BYTES).toString('base64')}\n`;
}

/** An Ed25519 pair for a broker that people reach at `publicUrl`. */
export async function makeServiceKey(
  id: string,
  publicUrl: string,
  callbackPath: string,
): Promise<MadeServiceKey> {
  const { privateKey } = generateKeyPairSync('ed25519');
  const { x, d } = privateKey.export({ format: 'jwk' });
  const kid = await calculateJwkThumbprint({ kty: 'OKP', crv: 'Ed25519', x: x ?? '' }, 'sha256');
  const jwk = { kty: 'OKP', crv: 'Ed25519', x, d, kid, alg: 'EdDSA' };
  return {
    text: `${JSON.stringify(jwk)}\n`,
    entry: `  ${id}:
    name: ${id}
    keys:
      - { kty: OKP, crv: Ed25519, x: ${x}, kid: ${kid} }
    redirect_uris: ["${publicUrl}${callbackPath}"]
    may: [login, exchange, run-certificates, github-token]
    source_addresses: []     # where it connects to hosts from, such as 192.0.2.10/32; anywhere when empty
`,
  };
}
