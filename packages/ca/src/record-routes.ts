/** Records, checkpoints and the CA's public keys over HTTP. */
import { CHECKPOINT_TYPE, formatCheckpoint } from '@beacon/protocol/checkpoint';
import { headsAnswer, headsRequest } from '@beacon/protocol/http/heads';
import { authorityKeys, checkpointAnswer, recordList, recordQuery } from '@beacon/protocol/http/records';
import { FIRST_PREVIOUS } from '@beacon/protocol/record';
import type { Route } from '@beacon/server';
import { CompactSign, importJWK, type JWK } from 'jose';
import { requireAuthority } from './authority.ts';
import type { Ca } from './ca.ts';
import { type CaKeyKind, readCaKeyRows } from './ca-key-store.ts';
import { defineRoute } from './define-route.ts';
import { createHeadsReader } from './host-heads.ts';
import { takeHeads } from './service-heads.ts';

export interface RecordRouteOptions {
  readonly tokenSigning: JWK & { kid: string };
}

export function recordRoutes(ca: Ca, options: RecordRouteOptions): readonly Route[] {
  const signCheckpoint = createCheckpointSigner(ca, options.tokenSigning);
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/records',
      summary:
        "Records in order, as their exact lines: one's own, those of one's own grant, or all with ca.records",
      tag: 'records',
      access: 'read',
      request: { query: recordQuery },
      responses: { 200: { description: 'records', schema: recordList } },
      handle: async ({ query, caller, request }) => {
        const own = query.person === caller.person || (await isOwnGrant(ca, query.grant, caller.person));
        if (!own) await requireAuthority(ca, caller, 'ca.records', request.ip);
        const records = await ca.records.list(ca.store, {
          after: query.after,
          limit: query.limit,
          ...(query.person === undefined ? {} : { person: query.person }),
          ...(query.host === undefined ? {} : { host: query.host }),
          ...(query.grant === undefined ? {} : { grant: query.grant }),
        });
        return { status: 200, body: { records: records.map(({ line }) => line), head: await head(ca) } };
      },
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/heads',
      summary: "How far a service's own records go, and those of hosts as it saw them; it only moves forward",
      tag: 'records',
      access: 'write',
      request: { body: headsRequest },
      responses: { 200: { description: 'kept', schema: headsAnswer } },
      handle: async ({ body, caller }) => ({ status: 200, body: await takeHeads(ca, caller, body) }),
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/checkpoint',
      summary:
        "The heads of the CA's records and, in one digest each, of the hosts' and of services' records, signed: keep it, and none can be rewritten unseen",
      tag: 'records',
      access: 'public',
      request: {},
      responses: { 200: { description: 'compact JWS', schema: checkpointAnswer } },
      handle: async () => ({ status: 200, body: { checkpoint: await signCheckpoint() } }),
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/ca-keys',
      summary:
        'The public keys that user and host certificates are to be believed by: the one that signs first',
      tag: 'keys',
      access: 'public',
      request: {},
      responses: { 200: { description: 'keys', schema: authorityKeys } },
      handle: async () => {
        const rows = await readCaKeyRows(ca.store);
        const of = (kind: CaKeyKind) =>
          rows
            .filter((row) => row.kind === kind && row.state !== 'retired')
            .toSorted((a, b) => Number(b.state === 'signs') - Number(a.state === 'signs'))
            .map((row) => ({
              public_key: row.public_key,
              fingerprint: row.fingerprint,
              state: row.revoked_at === null ? ('active' as const) : ('revoked' as const),
            }));
        return { status: 200, body: { user: of('user'), host: of('host') } };
      },
    }),
  ];
}

/** Whether a certificate was recorded for that grant and this person: rows are forgotten one day, records are not. */
async function isOwnGrant(ca: Ca, grant: string | undefined, person: string): Promise<boolean> {
  if (grant === undefined) return false;
  const [issued] = await ca.records.list(ca.store, { grant, kind: 'certificate', limit: 1 });
  return issued?.fields.person === person;
}

async function head(ca: Ca): Promise<{ seq: number; hash: string }> {
  const last = await ca.records.head(ca.store);
  return last === undefined ? { seq: 0, hash: FIRST_PREVIOUS } : { seq: last.seq, hash: last.hash };
}

/** Signs the present heads; the same ones are signed once (the request is public). */
function createCheckpointSigner(ca: Ca, jwk: JWK & { kid: string }): () => Promise<string> {
  const key = importJWK(jwk, 'EdDSA');
  const readHeads = createHeadsReader();
  let kept: { readonly heads: string; readonly jws: string } | undefined;
  return async () => {
    const heads = await readHeads(ca.store);
    const { seq, hash } = await head(ca);
    const named = JSON.stringify([hash, heads]);
    if (kept?.heads === named) return kept.jws;
    const payload = formatCheckpoint({ chain: 'ca', seq, hash, time: ca.now().toISOString(), heads });
    const jws = await new CompactSign(Buffer.from(payload))
      .setProtectedHeader({ alg: 'EdDSA', kid: jwk.kid, typ: CHECKPOINT_TYPE })
      .sign(await key);
    kept = { heads: named, jws };
    return jws;
  };
}
