/** Certificates, decisions and revocations over HTTP. */
import {
  type CertificateEntry,
  certificateAnswer,
  certificateEntry,
  certificateList,
  certificateQuery,
  certificateRequest,
  decisionAnswer,
  decisionRequest,
} from '@beacon/protocol/http/certificates';
import { githubTokenAnswer, githubTokenRequest } from '@beacon/protocol/http/github';
import { serialParams } from '@beacon/protocol/http/name';
import { revocationAnswer, revocationRequest } from '@beacon/protocol/http/revocations';
import type { Route } from '@beacon/server';
import { hasAuthority, requireAuthority } from './authority.ts';
import type { Ca } from './ca.ts';
import { decideOnly } from './decisions.ts';
import { defineRoute } from './define-route.ts';
import { CaError } from './error.ts';
import { giveGithubToken } from './github-token.ts';
import { issueCertificate } from './issue.ts';
import { revoke } from './revoke.ts';
import type { CertificateRow } from './rows.ts';
import { storedSerial } from './store.ts';

export function certificateRoutes(ca: Ca): readonly Route[] {
  return [
    defineRoute({
      method: 'POST',
      path: '/v1/certificates',
      summary: 'Sign a key into a certificate for one host, one login and, for a run, named commands',
      tag: 'certificates',
      access: 'write',
      request: { body: certificateRequest },
      responses: {
        201: {
          description: 'the certificate; its record was durable before it was signed',
          schema: certificateAnswer,
        },
      },
      handle: async ({ body, rawBody, caller, request }) => ({
        status: 201,
        body: await issueCertificate(ca, caller, { body, rawBody, ip: request.ip }),
      }),
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/certificates',
      summary: "One's own certificates, newest first; everybody's with ca.records",
      tag: 'certificates',
      access: 'read',
      request: { query: certificateQuery },
      responses: { 200: { description: 'certificates', schema: certificateList } },
      handle: async ({ query, caller, request }) => {
        const { person: asked } = query;
        if (asked !== undefined && asked !== caller.person)
          await requireAuthority(ca, caller, 'ca.records', request.ip);
        const all = asked === undefined && (await hasAuthority(ca, caller, 'ca.records', request.ip));
        const person = all ? undefined : (asked ?? caller.person);
        let rows = ca.store
          .selectFrom('certificates')
          .selectAll()
          .orderBy('serial', 'desc')
          .limit(query.limit);
        if (person !== undefined) rows = rows.where('person', '=', person);
        if (query.host !== undefined) rows = rows.where('host', '=', query.host);
        if (query.grant !== undefined) rows = rows.where('grant_id', '=', query.grant);
        if (query.before !== undefined) rows = rows.where('serial', '<', storedSerial(BigInt(query.before)));
        return { status: 200, body: { certificates: (await rows.execute()).map(entry) } };
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/certificates/{serial}',
      summary: "One certificate: one's own, or anybody's with ca.records",
      tag: 'certificates',
      access: 'read',
      request: { params: serialParams },
      responses: { 200: { description: 'the certificate', schema: certificateEntry } },
      handle: async ({ params, caller, request }) => {
        const row = await ca.store
          .selectFrom('certificates')
          .selectAll()
          .where('serial', '=', storedSerial(BigInt(params.serial)))
          .executeTakeFirst();
        const visible =
          row?.person === caller.person || (await hasAuthority(ca, caller, 'ca.records', request.ip));
        if (row === undefined || !visible) {
          throw new CaError(
            'certificate-unknown',
            `you have no certificate with the serial ${params.serial}`,
          );
        }
        return { status: 200, body: entry(row) };
      },
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/decisions',
      summary: 'Ask what POST /v1/certificates would decide; nothing is signed',
      tag: 'certificates',
      access: 'write',
      request: { body: decisionRequest },
      responses: { 200: { description: 'the decision, allowed or not', schema: decisionAnswer } },
      handle: async ({ body, caller, request }) => ({
        status: 200,
        body: await decideOnly(ca, caller, body, request.ip),
      }),
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/github-token',
      summary: "The person's GitHub token, for a service with the right to it and a run that policy allows",
      tag: 'certificates',
      access: 'write',
      request: { body: githubTokenRequest },
      responses: {
        200: { description: 'the token; that it was given is on record before', schema: githubTokenAnswer },
      },
      handle: async ({ body, caller, request }) => ({
        status: 200,
        body: await giveGithubToken(ca, caller, body, request.ip),
      }),
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/revocations',
      summary: "Take back certificates: one's own, or anybody's with ca.revoke",
      tag: 'revocations',
      access: 'write',
      request: { body: revocationRequest },
      responses: { 200: { description: 'what was revoked, durably', schema: revocationAnswer } },
      handle: async ({ body, caller, request }) => ({
        status: 200,
        body: await revoke(ca, caller, body, request.ip),
      }),
    }),
  ];
}

function entry(row: CertificateRow): CertificateEntry {
  return {
    serial: BigInt(row.serial).toString(),
    kind: row.kind,
    grant: row.grant_id,
    person: row.person,
    service: row.service,
    host: row.host,
    login: row.login,
    commands: JSON.parse(row.commands) as string[],
    public_key: row.public_key,
    authority: row.authority,
    valid_after: new Date(row.valid_after).toISOString(),
    valid_before: new Date(row.valid_before).toISOString(),
    revoked: row.revoked_at !== null,
    record: { seq: row.record_seq, hash: row.record_hash },
  };
}
