/**
 * The CA's keys, read from the files that the configuration names: two OpenSSH private keys behind passphrases, the key
 * that signs tokens and checkpoints, and the key that seals secrets in the store. They stay in memory only.
 */
import { readSecretFile } from '@beacon/server';
import { type OpenedPrivateKey, openPrivateKey } from '@beacon/ssh/key';
import { createHostCa, createUserCa, type HostCa, type UserCa } from '@beacon/ssh/sign-certificate';
import type { Signer } from '@beacon/ssh/signature';
import type { JWK } from 'jose';
import type { CaConfiguration } from './configuration.ts';
import { CaError } from './error.ts';

export interface CaKeys {
  readonly userCa: UserCa;
  readonly hostCa: HostCa;
  /** Private Ed25519 JWK with a `kid`. */
  readonly tokenSigning: JWK & { kid: string };
  /** 32 bytes. */
  readonly sealing: Buffer;
}

const MAX_KEY_BYTES = 16_384;

/** Opens all four. Throws CaError `keys` or ServerError `configuration` naming the file and what to do. */
export async function readCaKeys(keys: CaConfiguration['keys']): Promise<CaKeys> {
  const userCa = createUserCa(await openAuthority(keys.user_ca, 'user'));
  const hostCa = createHostCa(await openAuthority(keys.host_ca, 'host'));
  if (userCa.publicKey.blob.equals(hostCa.publicKey.blob)) {
    throw new CaError('keys', 'user CA and host CA are the same key: make two with `beacon ca init`');
  }
  return {
    userCa,
    hostCa,
    tokenSigning: readTokenKey(keys.token_signing),
    sealing: readSealingKey(keys.sealing),
  };
}

/** The comment in the private key file that `beacon ca init` makes: an exchange of the two files is found by it. */
export function authorityComment(kind: 'user' | 'host'): string {
  return `beacon ${kind} ca`;
}

async function openAuthority(
  key: { file: string; passphrase_file: string },
  kind: 'user' | 'host',
): Promise<Signer> {
  const text = readSecretFile(key.file, { maxBytes: MAX_KEY_BYTES }).toString('utf8');
  const passphrase = readSecretFile(key.passphrase_file, { maxBytes: 1024 }).toString('utf8');
  const opened = await openAuthorityFile(key, text, passphrase);
  if (opened.comment === authorityComment(kind === 'user' ? 'host' : 'user')) {
    throw new CaError(
      'keys',
      `${key.file} is the ${kind === 'user' ? 'host' : 'user'} CA by its own comment, and stands where the ${kind} CA belongs: exchange the two files`,
    );
  }
  return opened.signer;
}

async function openAuthorityFile(
  key: { file: string; passphrase_file: string },
  text: string,
  passphrase: string,
): Promise<OpenedPrivateKey> {
  try {
    return await openPrivateKey(`${text}\n`, passphrase);
  } catch (error) {
    throw new CaError('keys', `${key.file} cannot be opened: is ${key.passphrase_file} its passphrase?`, {
      cause: error,
    });
  }
}

function readTokenKey(file: string): JWK & { kid: string } {
  try {
    const key = JSON.parse(readSecretFile(file, { maxBytes: MAX_KEY_BYTES }).toString('utf8')) as JWK;
    if (key.kty === 'OKP' && key.crv === 'Ed25519' && key.d !== undefined && key.kid !== undefined)
      return { ...key, kid: key.kid };
  } catch (error) {
    if (error instanceof Error && error.name === 'ServerError') throw error;
  }
  throw new CaError(
    'keys',
    `${file} is not a private Ed25519 JWK with a kid: make one with \`beacon ca init\` in an empty folder`,
  );
}

function readSealingKey(file: string): Buffer {
  const key = Buffer.from(readSecretFile(file, { maxBytes: 100 }).toString('utf8'), 'base64');
  if (key.length !== 32)
    throw new CaError(
      'keys',
      `${file} does not hold 32 bytes in base64: restore it from a backup, or make one with \`openssl rand -base64 32\`, which ends all sessions`,
    );
  return key;
}
