/**
 * Drawing up and signing a trust root (DESIGN.md section 6), beside the CA and not by it: `draft` reads what the CA uses
 * and what was published last, `sign` runs where the root key is, offline, and signs the exact bytes of the file. Files
 * are made new and never written over. `ssh-keygen -Y sign -n trust-root@beacon` gives the same signature.
 */

import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import {
  formatTrustRoot,
  parseTrustRoot,
  TRUST_ROOT_NAMESPACE,
  type TrustRoot,
} from '@beacon/protocol/trust';
import { handoverMessage, TRUST_HANDOVER_NAMESPACE } from '@beacon/protocol/trust-handover';
import { migrationState, openDatabase, readSecretFile, readStore } from '@beacon/server';
import { formatPrivateKey, generateKey, openPrivateKey } from '@beacon/ssh/key';
import { fingerprint, formatPublicKeyLine } from '@beacon/ssh/public-key';
import { formatMessageSignature, signMessage } from '@beacon/ssh/sshsig';
import type { Tables } from './ca.ts';
import { describeHold, readHold } from './ca-key-hold.ts';
import { type CaKeyKind, type KnownKey, readCaKeyRows } from './ca-key-store.ts';
import { readCaConfiguration } from './configuration.ts';
import { migrations } from './create-ca.ts';
import { CaError } from './error.ts';
import { authorityComment, type KeyKind, readCaKeys, readPublicKey } from './keys.ts';
import { ROOT_LIFE_MS, requireTrust } from './trust-root.ts';
import { readLatestRoot } from './trust-store.ts';

/** The host ids and logins of a first root. */
export const ANY_HOST = '[a-z0-9][a-z0-9.-]*';
export const FIRST_LOGIN = 'beacon';

export interface MadeKey {
  readonly file: string;
  readonly passphraseFile: string;
  readonly fingerprint: string;
}

/**
 * Makes an Ed25519 key in `file` behind a passphrase, its public half in `file`.pub. Without a passphrase file one is made
 * beside it. Throws CaError `keys` when one of the files is there already.
 */
export async function makeKeyFile(
  file: string,
  kind: KeyKind | 'trust root',
  passphraseFile?: string,
): Promise<MadeKey> {
  const place = passphraseFile ?? `${file}.passphrase`;
  if (passphraseFile === undefined) writeNew(place, `${randomBytes(32).toString('base64url')}\n`, 0o600);
  const passphrase = readSecretFile(place, { maxBytes: 1024 }).toString('utf8');
  const { privateKey, publicKey } = generateKey('ssh-ed25519');
  const comment = kind === 'trust root' ? 'beacon trust root' : authorityComment(kind);
  writeNew(file, await formatPrivateKey(privateKey, { passphrase, comment }), 0o600);
  writeNew(`${file}.pub`, `${formatPublicKeyLine(publicKey, comment)}\n`, 0o644);
  return { file, passphraseFile: place, fingerprint: fingerprint(publicKey) };
}

export interface DraftRequest {
  readonly configurationFile: string;
  readonly out: string;
  /** The pattern of the host ids; that of the root before when absent. */
  readonly hosts?: string;
  /** Those of the root before when empty. */
  readonly logins: readonly string[];
  /** `.pub` files of keys that hosts shall trust beside those of the root before. */
  readonly userCa: readonly string[];
  readonly hostCa: readonly string[];
  /** Leaves former keys out: `ready` when nothing depends on them, `now` at once. */
  readonly retire?: 'ready' | 'now';
}

/**
 * Writes the next root, unsigned, into `out`: it names the keys of the root before, those of `ca.yaml`, and none that is
 * revoked. Throws CaError (`rotation-waits`), ServerError, or ProtocolError for a bad pattern or login.
 */
export async function draftRoot(request: DraftRequest, now: Date): Promise<TrustRoot> {
  const configuration = readCaConfiguration(request.configurationFile);
  const keys = await readCaKeys(configuration.keys);
  const { status } = requireTrust(keys);
  const { before, known, holds } = await readPublished(readStore(configuration.store), now);
  const lines = (kind: CaKeyKind, files: readonly string[]) => {
    const opened = kind === 'user' ? [keys.userCa, keys.userCaNext] : [keys.hostCa, keys.hostCaNext];
    const own = opened.flatMap((key) => (key === undefined ? [] : [formatPublicKeyLine(key.publicKey)]));
    const added = files.map((file) => formatPublicKeyLine(readPublicKey(file).key));
    const former = (kind === 'user' ? before?.userCa : before?.hostCa) ?? [];
    return chooseKeys(known, request.retire === undefined ? [...own, ...former] : own, {
      kind,
      added,
      leaves: request.retire === undefined ? ['retired'] : ['former', 'retired'],
    });
  };
  const root: TrustRoot = {
    version: (before?.version ?? 0) + 1,
    issued: now,
    expires: new Date(now.getTime() + ROOT_LIFE_MS),
    hosts: request.hosts ?? before?.hosts ?? ANY_HOST,
    logins: request.logins.length > 0 ? [...request.logins] : (before?.logins ?? [FIRST_LOGIN]),
    userCa: lines('user', request.userCa),
    hostCa: lines('host', request.hostCa),
    statusKey: formatPublicKeyLine(status.publicKey),
  };
  if (request.retire === 'ready')
    for (const { key, why } of holds)
      if (![...root.userCa, ...root.hostCa].includes(key.public_key))
        throw new CaError(
          'rotation-waits',
          `${key.fingerprint}, a key of the ${key.kind} CA, cannot go yet: ${why}; wait, or if it was stolen say --now`,
        );
  writeNew(request.out, formatTrustRoot(root), 0o644);
  return root;
}

/** The key that signs, then the others, none twice; without what is revoked or left. */
function chooseKeys(
  known: readonly KnownKey[],
  own: readonly string[],
  { kind, added, leaves }: { kind: CaKeyKind; added: readonly string[]; leaves: readonly string[] },
): string[] {
  const rows = known.filter((row) => row.kind === kind);
  const signs = rows.filter(({ state }) => state === 'signs').map((row) => row.public_key);
  const left = rows.filter(({ state }) => leaves.includes(state)).map((row) => row.public_key);
  const revoked = rows.filter((row) => row.revoked_at !== null).map((row) => row.public_key);
  const chosen = [...signs, ...own.filter((line) => !left.includes(line)), ...added];
  return [...new Set(chosen)].filter((line) => !revoked.includes(line));
}

interface Published {
  readonly before: TrustRoot | undefined;
  readonly known: readonly KnownKey[];
  /** Why a key has to stay, for those that have to. */
  readonly holds: readonly { readonly key: KnownKey; readonly why: string }[];
}

async function readPublished(place: ReturnType<typeof readStore>, now: Date): Promise<Published> {
  const nothing = { before: undefined, known: [], holds: [] };
  if ('file' in place && !existsSync(place.file)) return nothing;
  const store = openDatabase<Tables>({ ...place, readOnly: true });
  try {
    if ((await migrationState(store, ...migrations)) !== 'all') return nothing;
    const row = await readLatestRoot(store);
    const known = await readCaKeyRows(store);
    const holds: { key: KnownKey; why: string }[] = [];
    for (const key of known) {
      const hold = key.state === 'former' ? await readHold(store, key, now) : undefined;
      if (hold !== undefined) holds.push({ key, why: describeHold(hold) });
    }
    const before = row === undefined ? undefined : parseTrustRoot(Buffer.from(row.document));
    return { before, known, holds };
  } finally {
    await store.destroy();
  }
}

export interface SignRequest {
  readonly document: string;
  readonly key: string;
  readonly passphraseFile: string;
  /** The `.pub` file of the next root key, to hand over to it. */
  readonly handoverTo?: string;
}

/**
 * Signs a root: `DOCUMENT.sig`, or `DOCUMENT.handover` by the key that hands over. Answers what was signed. Throws CaError
 * `trust-root-refused` for what is no root or has expired, `keys` for the key.
 */
export async function signRoot(
  request: SignRequest,
  now: Date,
): Promise<{ root: TrustRoot; signature: string; by: string }> {
  const bytes = readFileSync(request.document);
  const root = readDraft(bytes, request.document, now);
  const text = readSecretFile(request.key, { maxBytes: 16_384 }).toString('utf8');
  const passphrase = readSecretFile(request.passphraseFile, { maxBytes: 1024 }).toString('utf8');
  const { signer } = await openPrivateKey(`${text}\n`, passphrase).catch((error: unknown) => {
    throw new CaError(
      'keys',
      `${request.key} cannot be opened: is ${request.passphraseFile} its passphrase?`,
      {
        cause: error,
      },
    );
  });
  const { namespace, message, suffix } =
    request.handoverTo === undefined
      ? { namespace: TRUST_ROOT_NAMESPACE, message: bytes, suffix: 'sig' }
      : {
          namespace: TRUST_HANDOVER_NAMESPACE,
          message: handoverMessage(formatPublicKeyLine(readPublicKey(request.handoverTo).key), bytes),
          suffix: 'handover',
        };
  const signature = `${request.document}.${suffix}`;
  writeNew(signature, formatMessageSignature(await signMessage(signer, namespace, message)), 0o644);
  return { root, signature, by: fingerprint(signer.publicKey) };
}

function readDraft(bytes: Buffer, file: string, now: Date): TrustRoot {
  let root: TrustRoot;
  try {
    root = parseTrustRoot(bytes);
  } catch (error) {
    const why = error instanceof Error ? error.message : 'it cannot be read';
    throw new CaError('trust-root-refused', `${file} is no trust root: ${why}`, { cause: error });
  }
  if (root.expires <= now)
    throw new CaError(
      'trust-root-refused',
      `${file} expired at ${root.expires.toISOString()}: draw it up again`,
    );
  return root;
}

function writeNew(file: string, text: string, mode: number): void {
  try {
    writeFileSync(file, text, { mode, flag: 'wx' });
    chmodSync(file, mode);
  } catch (error) {
    throw new CaError('keys', `${file} cannot be made: name a file that is not there yet`, { cause: error });
  }
}
