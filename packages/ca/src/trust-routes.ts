/**
 * Trust root, trust status and revocation list over HTTP, for hosts that ask every minute: public, each with a tag to ask
 * by (`If-None-Match`). What is public here opens nothing; what makes it believed are the signatures.
 */
import { activationAnswer, activationRequest, rotationState } from '@beacon/protocol/http/rotation';
import {
  publishedRoot,
  publishedStatus,
  rootPublication,
  rootPublished,
  rootVersionParams,
} from '@beacon/protocol/http/trust';
import type { Route } from '@beacon/server';
import type { Ca } from './ca.ts';
import { tagOf, unlessKnown } from './conditional.ts';
import { defineRoute } from './define-route.ts';
import { CaError } from './error.ts';
import { createKrl } from './krl.ts';
import { activateKey, readRotation } from './rotation.ts';
import { publishRoot, requireTrust } from './trust-root.ts';
import type { TrustStatusSource } from './trust-status.ts';
import { readLatestRoot, readRoot, type TrustRootRow } from './trust-store.ts';

/** Document and signatures in one body. */
const MAX_PUBLICATION_BYTES = 160_000;

export function trustRoutes(ca: Ca, trustStatus: TrustStatusSource): readonly Route[] {
  const list = createKrl(ca);
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/trust/root',
      summary: 'The newest trust root, as its exact text with its signature',
      tag: 'trust',
      access: 'public',
      request: {},
      responses: {
        200: { description: 'the root', schema: publishedRoot },
        304: { description: 'the one that If-None-Match names' },
      },
      handle: async ({ request }) => {
        requireTrust(ca);
        const row = await readLatestRoot(ca.store);
        if (row === undefined) throw unpublished();
        return unlessKnown(request, tagOf(row.document, row.signature), { body: rootBody(row) });
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/trust/roots/{version}',
      summary: 'One trust root of the past, for a host that has missed a change of the root key',
      tag: 'trust',
      access: 'public',
      request: { params: rootVersionParams },
      responses: {
        200: { description: 'the root', schema: publishedRoot },
        304: { description: 'the one that If-None-Match names' },
      },
      handle: async ({ params, request }) => {
        const row = await readRoot(ca.store, params.version);
        if (row === undefined) throw unpublished();
        return unlessKnown(request, tagOf(row.document, row.signature), { body: rootBody(row) });
      },
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/trust/root',
      summary: 'Publish a trust root that the offline key has signed',
      tag: 'trust',
      access: 'write',
      request: { body: rootPublication },
      maxBodyBytes: MAX_PUBLICATION_BYTES,
      responses: { 201: { description: 'published, durably', schema: rootPublished } },
      handle: async ({ body, caller, request }) => ({
        status: 201,
        body: await publishRoot(ca, caller, body, request.ip),
      }),
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/trust/status',
      summary: 'The trust status of this moment, as its exact text with its signature',
      tag: 'trust',
      access: 'public',
      request: {},
      responses: {
        200: { description: 'the status', schema: publishedStatus },
        304: { description: 'the one that If-None-Match names' },
      },
      handle: async ({ request }) => {
        requireTrust(ca);
        const status = await trustStatus.current();
        if (status === undefined) throw unpublished();
        const { document, signature } = status;
        return unlessKnown(request, tagOf(document, signature), { body: { document, signature } });
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/rotation',
      summary: 'Which CA keys the trust root names, and which hosts do not trust them yet',
      tag: 'trust',
      access: 'read',
      request: {},
      responses: { 200: { description: 'keys and hosts', schema: rotationState } },
      handle: async ({ caller, request }) => ({
        status: 200,
        body: await readRotation(ca, caller, request.ip),
      }),
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/rotation',
      summary: 'Record that a further CA key may be taken into use; refused while hosts lack it',
      tag: 'trust',
      access: 'write',
      request: { body: activationRequest },
      responses: { 201: { description: 'recorded', schema: activationAnswer } },
      handle: async ({ body, caller, request }) => ({
        status: 201,
        body: { record: await activateKey(ca, caller, body, request.ip) },
      }),
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/krl',
      summary:
        'The revocation list for hosts, in the form that OpenSSH loads: the one that the trust status names',
      tag: 'revocations',
      access: 'public',
      request: {},
      responses: {
        200: { description: 'OpenSSH KRL', contentType: 'application/octet-stream' },
        304: { description: 'the one that If-None-Match names' },
      },
      handle: async ({ request }) => {
        const bytes = (await trustStatus.current())?.krl ?? (await list()).bytes;
        const headers = { 'content-type': 'application/octet-stream' };
        return unlessKnown(request, tagOf(bytes), { body: bytes, headers });
      },
    }),
  ];
}

function rootBody({ document, signature, handover }: TrustRootRow) {
  return handover === null ? { document, signature } : { document, signature, handover };
}

function unpublished(): CaError {
  return new CaError(
    'trust-unpublished',
    'no such trust root is published: the operator signs one with `beacon ca root sign`',
  );
}
