/** `beacon ca service key|list|check`: keys and entries of the reviewed services file. */
import { existsSync, writeFileSync } from 'node:fs';
import { isName, nameForms } from '@beacon/protocol/name';
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';
import { CaError } from './error.ts';

export interface ServiceKey {
  /** Where the private JWK was written, 0600. */
  readonly privateKeyFile: string;
  /** The entry to review and paste into the services file. */
  readonly entry: string;
}

/** Makes an Ed25519 pair for a service. Throws CaError `services` when the id is malformed or the file is there. */
export async function makeServiceKey(id: string, file: string): Promise<ServiceKey> {
  if (!isName('service', id))
    throw new CaError('services', `${JSON.stringify(id)} is not ${nameForms.service}`);
  if (existsSync(file))
    throw new CaError('services', `${file} is there already: name another file with --out`);
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
  const { x } = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(await exportJWK(publicKey), 'sha256');
  writeFileSync(file, `${JSON.stringify({ ...(await exportJWK(privateKey)), kid, alg: 'EdDSA' })}\n`, {
    mode: 0o600,
    flag: 'wx',
  });
  const entry = `  ${id}:
    name: ${id}
    keys:
      - { kty: OKP, crv: Ed25519, x: ${x}, kid: ${kid} }
    redirect_uris: []        # https://… where people return after signing in
    may: []                  # of: login, exchange, run-certificates, personal-certificates, github-token
    source_addresses: []     # where it connects to hosts from, such as 192.0.2.10/32
`;
  return { privateKeyFile: file, entry };
}
