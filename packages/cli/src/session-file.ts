/**
 * The login on this machine: `session.json`, with the tokens and the key that they are bound to. Who can read it can act
 * as the person until the session ends, so it is kept as `private-file.ts` says, and every change is made under a lock:
 * a refresh token works once, and two renewals at the same time would end the session.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { SessionStorage, StoredSession } from '@beacon/client';
import { type Json, parseStrictJson } from '@beacon/protocol/strict-json';
import { CliError } from './error.ts';
import { withLock } from './file-lock.ts';
import { ensurePrivateDirectory, readPrivateFile, writePrivateFile } from './private-file.ts';

const KEYS = [
  'v',
  'issuer',
  'client_id',
  'token_endpoint',
  'key',
  'access_token',
  'access_token_expires_at',
  'refresh_token',
];

/** The stored login, with what a program needs besides: replacing it whole, and forgetting it. */
export interface SessionFile extends SessionStorage {
  replace(session: StoredSession): Promise<void>;
  remove(): Promise<void>;
}

/** The login in this directory. Reading throws CliError `file-unsafe` or `file-malformed`. */
export function openSessionFile(stateDirectory: string): SessionFile {
  const file = join(stateDirectory, 'session.json');
  const lock = join(stateDirectory, 'session.lock');
  const read = async () => {
    const text = await readPrivateFile(file);
    return text === undefined ? undefined : parseSession(text, file);
  };
  return {
    read,
    async update(change) {
      await ensurePrivateDirectory(stateDirectory);
      return withLock(lock, async () => {
        const changed = await change(await read());
        await writePrivateFile(file, formatSession(changed));
        return changed;
      });
    },
    async replace(session) {
      await ensurePrivateDirectory(stateDirectory);
      await withLock(lock, () => writePrivateFile(file, formatSession(session)));
    },
    async remove() {
      await ensurePrivateDirectory(stateDirectory);
      await withLock(lock, () => rm(file, { force: true }));
    },
  };
}

function formatSession(session: StoredSession): string {
  const { kty, crv, x, d } = session.key;
  return `${JSON.stringify({
    v: 1,
    issuer: session.issuer,
    client_id: session.clientId,
    token_endpoint: session.tokenEndpoint,
    key: { kty, crv, x, d },
    access_token: session.accessToken,
    access_token_expires_at: session.accessTokenExpiresAt.toISOString(),
    refresh_token: session.refreshToken,
  })}\n`;
}

function parseSession(text: string, file: string): StoredSession {
  const damaged = (cause?: unknown) =>
    new CliError('file-malformed', 'unauthenticated', `${file} is damaged: log in again with beacon login`, {
      cause,
    });
  let value: Json;
  try {
    value = parseStrictJson(text);
  } catch (error) {
    throw damaged(error);
  }
  if (!isObject(value) || value['v'] !== 1 || Object.keys(value).some((key) => !KEYS.includes(key)))
    throw damaged();
  const field = (from: { [key: string]: Json }, name: string): string => {
    const content = from[name];
    if (typeof content !== 'string') throw damaged();
    return content;
  };
  const key = value['key'];
  if (!isObject(key) || key['kty'] !== 'OKP' || key['crv'] !== 'Ed25519') throw damaged();
  const expiresAt = new Date(field(value, 'access_token_expires_at'));
  if (Number.isNaN(expiresAt.getTime())) throw damaged();
  return {
    issuer: field(value, 'issuer'),
    clientId: field(value, 'client_id'),
    tokenEndpoint: field(value, 'token_endpoint'),
    key: { kty: 'OKP', crv: 'Ed25519', x: field(key, 'x'), d: field(key, 'd') },
    accessToken: field(value, 'access_token'),
    accessTokenExpiresAt: expiresAt,
    ...(value['refresh_token'] === undefined ? {} : { refreshToken: field(value, 'refresh_token') }),
  };
}

function isObject(value: Json | undefined): value is { [key: string]: Json } {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
