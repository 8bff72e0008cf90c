/**
 * Host tokens (DESIGN.md section 6): made by who has `ca.hosts`, shown once, kept as a digest, good until they expire or
 * are used up. A token for one host says all about it but its key; a pool token says which ids it is good for. It carries
 * the fingerprint of the root key, so there is none before a root is published. The row is bound to its record.
 */
import { randomBytes } from 'node:crypto';
import { ProtocolError } from '@beacon/protocol';
import { digestTokenSecret, formatHostToken } from '@beacon/protocol/host-token';
import type { HostTokenAnswer, HostTokenRequest } from '@beacon/protocol/http/enrolment';
import { createId } from '@beacon/protocol/id';
import { compilePattern } from '@beacon/protocol/pattern';
import { fingerprint, parsePublicKeyLine } from '@beacon/ssh/public-key';
import type { Caller } from './access-token.ts';
import { rowDigest, verifyRow } from './administrative-row.ts';
import { requireAuthority } from './authority.ts';
import type { Ca, Readable, Tx } from './ca.ts';
import type { HostTokenRow } from './enrolment-store.ts';
import { CaError } from './error.ts';
import { requireUnknown, verifiedHost } from './hosts.ts';
import { lastTokenRecord } from './store.ts';
import { readLatestRoot } from './trust-store.ts';
import { write } from './write.ts';

/** What a token row holds, as the exact JSON text that its digest covers. */
export type TokenContent =
  | {
      readonly kind: 'host';
      readonly host: string;
      readonly address: string;
      readonly place: TokenPlace;
      /** The record of the host's row that is to be replaced; null for a host that is not there. */
      readonly replaces: number | null;
    }
  | {
      readonly kind: 'pool';
      readonly hosts: string;
      readonly domain: string | null;
      readonly place: TokenPlace;
    };

export interface TokenPlace {
  readonly port: number;
  readonly logins: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly pools: readonly string[];
}

const SECRET_BYTES = 32;

/** Throws CaError: denied without `ca.hosts`; `trust-unpublished`, `host-exists`, `host-unknown`, `request-malformed`. */
export async function makeHostToken(
  ca: Ca,
  caller: Caller,
  request: HostTokenRequest,
  ip: string,
): Promise<HostTokenAnswer> {
  await requireAuthority(ca, caller, 'ca.hosts', ip);
  const root = await readLatestRoot(ca.store);
  if (root === undefined)
    throw new CaError(
      'trust-unpublished',
      'no trust root is published, so a host could believe nobody: see docs/trust.md',
    );
  if (request.kind === 'pool') requirePattern(request.hosts);
  ca.requireClock();
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  const now = ca.now();
  const expires = new Date(now.getTime() + request.lifetime_seconds * 1000);
  return write(ca, caller, async (tx) => {
    const row = {
      id: createId(now.getTime()),
      secret_digest: digestTokenSecret(secret),
      content: JSON.stringify(await contentOf(ca, tx, request)),
      person: caller.person,
      expires_at: expires.getTime(),
      uses_left: request.kind === 'host' ? 1 : request.uses,
    };
    const record = await ca.records.append(tx, {
      kind: 'host-token',
      person: caller.person,
      service: caller.service,
      facts: {
        token: row.id,
        row: tokenDigest(row),
        hosts: request.kind === 'host' ? request.host : request.hosts,
        uses: row.uses_left,
        expires: expires.toISOString(),
      },
    });
    await tx
      .insertInto('host_tokens')
      .values({ ...row, record_seq: record.seq, record_hash: record.hash })
      .execute();
    return {
      id: row.id,
      token: formatHostToken({ secret, rootKey: fingerprint(parsePublicKeyLine(root.root_key).key) }),
      expires: expires.toISOString(),
      record: { seq: record.seq, hash: record.hash },
    };
  });
}

async function contentOf(ca: Ca, tx: Tx, request: HostTokenRequest): Promise<TokenContent> {
  const place = {
    port: request.port,
    logins: [...new Set(request.logins)],
    labels: request.labels,
    pools: request.pools,
  };
  if (request.kind === 'pool')
    return { kind: 'pool', hosts: request.hosts, domain: request.domain ?? null, place };
  const { host, address, replace } = request;
  const row = await tx.selectFrom('hosts').selectAll().where('id', '=', host).executeTakeFirst();
  if (row === undefined) await requireUnknown(host, tx);
  if (row === undefined && replace)
    throw new CaError('host-unknown', `there is no host ${host} to be enrolled again: leave --replace out`);
  if (row !== undefined && !replace)
    throw new CaError('host-exists', `the host ${host} is there already: to enrol it again, say --replace`);
  const before = row === undefined ? undefined : await verifiedHost(ca, row, tx);
  return { kind: 'host', host, address, place, replaces: before?.recordSeq ?? null };
}

function requirePattern(pattern: string): void {
  try {
    compilePattern(pattern);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new CaError('request-malformed', `hosts: ${error.message}`, { cause: error });
  }
}

/** What a record says of a token's row. */
export function tokenDigest(row: Omit<HostTokenRow, 'record_seq' | 'record_hash'>): string {
  const { id, secret_digest: digest, content, person, expires_at: expires, uses_left: left } = row;
  return rowDigest('host_tokens', id, [digest, person, expires, left, content].join('\n'));
}

/** Throws CaError `row-unverified` unless the row is as its last record says. */
export async function verifyToken(ca: Ca, row: HostTokenRow, store: Readable): Promise<TokenContent> {
  await verifyRow(ca.records, store, row, tokenDigest(row), await lastTokenRecord(store, row.id));
  return JSON.parse(row.content) as TokenContent;
}

/** Writes what is left of a token, with the record of it. */
export async function spendToken(
  ca: Ca,
  tx: Tx,
  row: HostTokenRow,
  usesLeft: number,
  entry: Pick<Parameters<Ca['records']['append']>[1], 'kind' | 'person' | 'service' | 'facts'>,
): Promise<{ seq: number; hash: string }> {
  const next = { ...row, uses_left: usesLeft };
  const record = await ca.records.append(tx, {
    ...entry,
    facts: { ...entry.facts, token: row.id, row: tokenDigest(next), uses_left: usesLeft },
  });
  await tx
    .updateTable('host_tokens')
    .set({ uses_left: usesLeft, record_seq: record.seq, record_hash: record.hash })
    .where('id', '=', row.id)
    .execute();
  return { seq: record.seq, hash: record.hash };
}

export interface ListedToken {
  readonly id: string;
  readonly kind: 'host' | 'pool';
  readonly hosts: string;
  readonly person: string;
  readonly expires: string;
  readonly uses_left: number;
}

/** Tokens that are good for something still, newest first, at most 1,000. Denied without `ca.hosts`. */
export async function listHostTokens(ca: Ca, caller: Caller, ip: string): Promise<ListedToken[]> {
  await requireAuthority(ca, caller, 'ca.hosts', ip);
  const rows = await ca.store
    .selectFrom('host_tokens')
    .selectAll()
    .where('uses_left', '>', 0)
    .where('expires_at', '>', ca.now().getTime())
    .orderBy('id', 'desc')
    .limit(1_000)
    .execute();
  return rows.map((row) => {
    const content = JSON.parse(row.content) as TokenContent;
    return {
      id: row.id,
      kind: content.kind,
      hosts: content.kind === 'host' ? content.host : content.hosts,
      person: row.person,
      expires: new Date(row.expires_at).toISOString(),
      uses_left: row.uses_left,
    };
  });
}

/** Takes a token back. Throws CaError `host-token-unknown`; denied without `ca.hosts`. */
export async function revokeHostToken(
  ca: Ca,
  caller: Caller,
  id: string,
  ip: string,
): Promise<{ seq: number; hash: string }> {
  await requireAuthority(ca, caller, 'ca.hosts', ip);
  return write(ca, caller, async (tx) => {
    const row = await tx.selectFrom('host_tokens').selectAll().where('id', '=', id).executeTakeFirst();
    if (row === undefined)
      throw new CaError('host-token-unknown', `there is no host token ${id}: see \`beacon ca host tokens\``);
    await verifyToken(ca, row, tx);
    return spendToken(ca, tx, row, 0, {
      kind: 'host-token-revoked',
      person: caller.person,
      service: caller.service,
      facts: {},
    });
  });
}
