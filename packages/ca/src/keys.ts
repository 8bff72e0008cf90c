/**
 * The CA's keys: two that sign certificates, each from an OpenSSH private key file behind a passphrase or left in an SSH
 * agent (and so in whatever hardware the agent speaks to), the key that signs tokens and checkpoints, and the key that
 * seals secrets in the store. Keys from files stay in memory only. Opening asks an agent what it holds, never to sign:
 * that might want a touch.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { readSecretFile } from '@beacon/server';
import { type AgentSigner, createAgentSigner } from '@beacon/ssh/agent-client';
import { openPrivateKey } from '@beacon/ssh/key';
import { isSameKey, type PublicKey, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { createHostCa, createUserCa, type HostCa, type UserCa } from '@beacon/ssh/sign-certificate';
import type { Signer } from '@beacon/ssh/signature';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose';
import type { AuthorityKey, CaConfiguration } from './configuration.ts';
import { CaError } from './error.ts';
import type { OtherTokenKey, PublicTokenKey } from './token-keys.ts';
import type { TrustKeys } from './trust-root.ts';

export interface CaKeys {
  readonly userCa: UserCa;
  readonly hostCa: HostCa;
  /** What takes the place of each when it is activated. */
  readonly userCaNext?: UserCa;
  readonly hostCaNext?: HostCa;
  /** Private Ed25519 JWK with a `kid`. */
  readonly tokenSigning: JWK & { kid: string };
  /** The next key for tokens and former ones. */
  readonly otherTokens?: readonly OtherTokenKey[];
  /** 32 bytes. */
  readonly sealing: Buffer;
  /** Absent: no trust documents. */
  readonly trust?: TrustKeys;
}

const MAX_KEY_BYTES = 16_384;

/** Less than the time that a request has, with room for the record of the refusal. */
const AGENT_TIMEOUT_MS = 15_000;

/**
 * Opens all that are named; `agentSocket` stands in for an agent_socket that is not named. Throws CaError `keys` or ServerError
 * `secret-file` naming the file and what to do.
 */
export async function readCaKeys(
  keys: CaConfiguration['keys'],
  agentSocket: string | undefined = process.env['SSH_AUTH_SOCK'],
): Promise<CaKeys> {
  const socket = keys.agent_socket ?? agentSocket;
  const userCa = createUserCa(await openAuthority(keys.user_ca, 'user', socket));
  const hostCa = createHostCa(await openAuthority(keys.host_ca, 'host', socket));
  if (userCa.publicKey.blob.equals(hostCa.publicKey.blob)) {
    throw new CaError('keys', 'user CA and host CA are the same key: make two with `beacon ca init`');
  }
  const next = await readNextKeys(keys, socket);
  const own = [userCa, hostCa, ...Object.values(next)].map(({ publicKey }) => publicKey);
  const trust = await readTrustKeys(keys, socket, own);
  if (hasDouble(own))
    throw new CaError(
      'keys',
      'user CA, host CA and the next of each are different keys: two of them are the same; leave the next one out once it stands in place of the former',
    );
  return {
    userCa,
    hostCa,
    ...next,
    ...readTokenKeys(keys),
    sealing: readSealingKey(keys.sealing),
    ...(trust === undefined ? {} : { trust }),
  };
}

async function readNextKeys(
  { user_ca_next: user, host_ca_next: host }: CaConfiguration['keys'],
  socket: string | undefined,
): Promise<Pick<CaKeys, 'userCaNext' | 'hostCaNext'>> {
  return {
    ...(user === undefined ? {} : { userCaNext: createUserCa(await openAuthority(user, 'user', socket)) }),
    ...(host === undefined ? {} : { hostCaNext: createHostCa(await openAuthority(host, 'host', socket)) }),
  };
}

function hasDouble(keys: readonly PublicKey[]): boolean {
  return keys.some((key, index) => keys.findIndex((other) => isSameKey(other, key)) !== index);
}

/** The status key is opened when it is named, so that a defect shows before the first root is published. */
async function readTrustKeys(
  { trust_root: rootFile, trust_status: statusKey }: CaConfiguration['keys'],
  socket: string | undefined,
  others: readonly PublicKey[],
): Promise<TrustKeys | undefined> {
  if (statusKey === undefined) {
    if (rootFile === undefined) return undefined;
    throw new CaError(
      'keys',
      'keys.trust_root is named without keys.trust_status: make one with `beacon ca key FILE`',
    );
  }
  const status = await openAuthority(statusKey, 'trust status', socket);
  if (rootFile === undefined) return undefined;
  const root = readPublicKey(rootFile).key;
  if (hasDouble([...others, status.publicKey, root]))
    throw new CaError(
      'keys',
      'user CA, host CA, trust status and trust root are four keys: two of them are the same',
    );
  return { root, status };
}

/** The comment in the key files that `beacon ca init` makes: an exchange of the two is found by it. */
export function authorityComment(kind: KeyKind): string {
  return kind === 'trust status' ? 'beacon trust status' : `beacon ${kind} ca`;
}

export type KeyKind = 'user' | 'host' | 'trust status';
const keyKinds: readonly KeyKind[] = ['user', 'host', 'trust status'];

interface OpenedAuthority {
  readonly signer: Signer;
  readonly comment: string;
  /** What named it. */
  readonly file: string;
}

async function openAuthority(key: AuthorityKey, kind: KeyKind, socket: string | undefined): Promise<Signer> {
  const { signer, comment, file } =
    'agent' in key ? await openAgentKey(key.agent, socket) : await openKeyFile(key.file, key.passphrase_file);
  const own = keyKinds.find((other) => comment === authorityComment(other));
  if (own !== undefined && own !== kind) {
    throw new CaError(
      'keys',
      `${file} is the ${nameOf(own)} by its own comment, and stands where the ${nameOf(kind)} belongs: exchange the two files`,
    );
  }
  return signer;
}

function nameOf(kind: KeyKind): string {
  return kind === 'trust status' ? 'key of the trust status' : `${kind} CA`;
}

async function openKeyFile(file: string, passphraseFile: string): Promise<OpenedAuthority> {
  const text = readSecretFile(file, { maxBytes: MAX_KEY_BYTES }).toString('utf8');
  const passphrase = readSecretFile(passphraseFile, { maxBytes: 1024 }).toString('utf8');
  try {
    const { signer, comment } = await openPrivateKey(`${text}\n`, passphrase);
    return { signer, comment, file };
  } catch (error) {
    throw new CaError('keys', `${file} cannot be opened: is ${passphraseFile} its passphrase?`, {
      cause: error,
    });
  }
}

async function openAgentKey(file: string, socket: string | undefined): Promise<OpenedAuthority> {
  if (socket === undefined || socket === '') {
    throw new CaError(
      'keys',
      `${file} names a key in an SSH agent, and no agent is named: set keys.agent_socket, or SSH_AUTH_SOCK`,
    );
  }
  const { key, comment } = readPublicKey(file);
  const signer = agentAuthority(socket, key);
  try {
    await signer.ready();
  } catch (error) {
    const why =
      error instanceof CaError && error.cause instanceof Error ? error.cause.message : 'it is not there';
    throw new CaError('keys', `the key of ${file} cannot be used: ${why}`, { cause: error });
  }
  return { signer, comment, file };
}

/** A key in an agent, whose every failure, a signature that does not verify among them, is one that may pass. */
function agentAuthority(socket: string, publicKey: PublicKey): AgentSigner {
  const { sign, ready } = createAgentSigner(socket, publicKey, { timeoutMs: AGENT_TIMEOUT_MS });
  const passing = async <T>(work: () => T | Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw new CaError(
        'signer-unavailable',
        'the key that signs certificates cannot be reached now: try again soon; if it lasts, tell the operator',
        { cause: error },
      );
    }
  };
  return {
    publicKey,
    sign: (data) => passing(() => sign(data)),
    ready: () => passing(ready),
  };
}

/** The one line of a `.pub` file. Throws CaError `keys`. */
export function readPublicKey(file: string): { key: PublicKey; comment: string } {
  try {
    return parsePublicKeyLine(readFileSync(file, 'utf8').trimEnd());
  } catch (error) {
    throw new CaError(
      'keys',
      `${file} is not a public key: write the key's line of \`ssh-add -L\` there, and nothing else`,
      { cause: error },
    );
  }
}

/** All that have to do with tokens; each `kid` and each key once. */
function readTokenKeys(keys: CaConfiguration['keys']): Pick<CaKeys, 'tokenSigning' | 'otherTokens'> {
  const tokenSigning = readTokenKey(keys.token_signing);
  const others = [
    ...(keys.token_next === undefined ? [] : [{ file: keys.token_next }]),
    ...keys.token_former.map(({ file, until }) => ({ file, until: new Date(until) })),
  ];
  const seen = new Set([tokenSigning.kid, tokenSigning.x]);
  const otherTokens = others.map(({ file, ...rest }) => {
    const jwk = readPublicTokenKey(file);
    if (seen.has(jwk.kid) || seen.has(jwk.x))
      throw new CaError(
        'keys',
        `${file} is a key that stands under keys already, or has its kid: name each key for tokens once`,
      );
    seen.add(jwk.kid).add(jwk.x);
    return { jwk, ...rest };
  });
  return { tokenSigning, otherTokens };
}

function readPublicTokenKey(file: string): PublicTokenKey {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new CaError(
      'keys',
      `${file} cannot be read: write what \`beacon ca token-key FILE\` prints there`,
      { cause: error },
    );
  }
  return parsePublicTokenKey(file, text);
}

function parsePublicTokenKey(file: string, text: string): PublicTokenKey {
  try {
    const key = JSON.parse(text) as Partial<Record<string, unknown>>;
    if (key['d'] !== undefined) {
      throw new CaError(
        'keys',
        `${file} is the private key: keep the public half alone there, as \`beacon ca token-key FILE\` prints it`,
      );
    }
    const { kty, crv, x, kid } = key;
    const isX = typeof x === 'string' && /^[A-Za-z0-9_-]{43}$/.test(x);
    const isKid = typeof kid === 'string' && kid.length > 0 && kid.length <= 64;
    if (kty === 'OKP' && crv === 'Ed25519' && isX && isKid) return { kty, crv, x, kid };
  } catch (error) {
    if (error instanceof CaError) throw error;
  }
  throw new CaError(
    'keys',
    `${file} is not a public Ed25519 JWK with a kid: write what \`beacon ca token-key FILE\` prints there`,
  );
}

/** Makes a private key for tokens in a new file. Throws CaError `keys` when there is one. */
export async function makeTokenKeyFile(file: string): Promise<void> {
  try {
    writeFileSync(file, `${JSON.stringify(await makeTokenKey())}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    throw new CaError('keys', `${file} cannot be made: name a file that is not there yet`, { cause: error });
  }
}

export async function makeTokenKey(): Promise<JWK & { kid: string }> {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
  const kid = await calculateJwkThumbprint(await exportJWK(publicKey), 'sha256');
  return { ...(await exportJWK(privateKey)), kid, alg: 'EdDSA', use: 'sig' };
}

/** The public half of the private key in `file`. Throws like `readCaKeys`. */
export function publicTokenKey(file: string): PublicTokenKey {
  const { x = '', kid } = readTokenKey(file);
  return { kty: 'OKP', crv: 'Ed25519', x, kid };
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
