/** Host tokens for administrators, and what machines ask for themselves, over HTTP. The wire: `@beacon/protocol/host-request`. */
import {
  enrolmentRequest,
  hostCertificateAnswer,
  hostTokenAnswer,
  hostTokenList,
  hostTokenParams,
  hostTokenRequest,
  hostTokenRevoked,
  renewalRequest,
  reportAnswer,
  reportedHosts,
  reportRequest,
  selfTestAnswer,
  selfTestRequest,
} from '@beacon/protocol/http/enrolment';
import type { Log, Route } from '@beacon/server';
import type { Ca } from './ca.ts';
import { defineRoute } from './define-route.ts';
import { enrolHost } from './enrol.ts';
import type { IssuedHostCertificate } from './host-certificate.ts';
import { requireReleaseNear } from './host-release.ts';
import { issueSelfTest, renewHost } from './host-renewal.ts';
import { takeReport } from './host-report.ts';
import { listReports } from './host-report-list.ts';
import type { SignedRequest } from './host-request.ts';
import { listHostTokens, makeHostToken, revokeHostToken } from './host-token.ts';

/** An allowlist and some hundred lines of records. */
const MAX_REPORT_BYTES = 512 * 1024;

export function enrolmentRoutes(ca: Ca, log: Log): readonly Route[] {
  return [...tokenRoutes(ca), ...machineRoutes(ca, log)];
}

function tokenRoutes(ca: Ca): readonly Route[] {
  return [
    defineRoute({
      method: 'POST',
      path: '/v1/host-tokens',
      summary: 'Make a token by which a machine becomes a host; it is shown once',
      tag: 'enrolment',
      access: 'write',
      request: { body: hostTokenRequest },
      responses: { 201: { description: 'the token', schema: hostTokenAnswer } },
      handle: async ({ body, caller, request }) => ({
        status: 201,
        body: await makeHostToken(ca, caller, body, request.ip),
      }),
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/host-tokens',
      summary: 'The tokens that are good for something still, without their secrets',
      tag: 'enrolment',
      access: 'read',
      request: {},
      responses: { 200: { description: 'tokens', schema: hostTokenList } },
      handle: async ({ caller, request }) => ({
        status: 200,
        body: { tokens: await listHostTokens(ca, caller, request.ip) },
      }),
    }),
    defineRoute({
      method: 'DELETE',
      path: '/v1/host-tokens/{id}',
      summary: 'Take a token back',
      tag: 'enrolment',
      access: 'write',
      request: { params: hostTokenParams },
      responses: { 200: { description: 'it is good for nothing more', schema: hostTokenRevoked } },
      handle: async ({ params, caller, request }) => ({
        status: 200,
        body: { record: await revokeHostToken(ca, caller, params.id, request.ip) },
      }),
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/host-reports',
      summary: 'How each host stands: what it reported last, its certificate, and what should be looked at',
      tag: 'enrolment',
      access: 'read',
      request: {},
      responses: { 200: { description: 'reports', schema: reportedHosts } },
      handle: async ({ caller, request }) => ({
        status: 200,
        body: await listReports(ca, caller, request.ip),
      }),
    }),
  ];
}

function machineRoutes(ca: Ca, log: Log): readonly Route[] {
  return [
    defineRoute({
      method: 'POST',
      path: '/v1/host-enrolments',
      summary: 'Become a host by a token; signed by the host key, namespace host-enrolment@beacon',
      tag: 'enrolment',
      access: 'public',
      request: { body: enrolmentRequest },
      responses: { 201: { description: 'the host certificate', schema: hostCertificateAnswer } },
      handle: async ({ body, rawBody, request }) => ({
        status: 201,
        body: certificateBody(await enrolHost(ca, body, fromMachine(rawBody, request))),
      }),
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/host-renewals',
      summary: 'Renew the host certificate; signed by the host key, namespace host-renewal@beacon',
      tag: 'enrolment',
      access: 'public',
      request: { body: renewalRequest },
      responses: { 201: { description: 'the host certificate', schema: hostCertificateAnswer } },
      handle: async ({ body, rawBody, request }) => ({
        status: 201,
        body: certificateBody(await renewHost(ca, body, fromMachine(rawBody, request))),
      }),
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/host-self-tests',
      summary:
        'A certificate of 60 seconds without commands; signed by the host key, namespace host-self-test@beacon',
      tag: 'enrolment',
      access: 'public',
      request: { body: selfTestRequest },
      responses: { 201: { description: 'the certificate', schema: selfTestAnswer } },
      handle: async ({ body, rawBody, request }) => {
        const { certificate, serial, grant, principal, validBefore, record } = await issueSelfTest(
          ca,
          body,
          fromMachine(rawBody, request),
        );
        const valid = { serial: serial.toString(), valid_before: validBefore.toISOString() };
        return { status: 201, body: { certificate, grant, principal, ...valid, record } };
      },
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/host-reports',
      summary: 'What a host says of itself; signed by the host key, namespace host-report@beacon',
      tag: 'enrolment',
      access: 'public',
      request: { body: reportRequest },
      maxBodyBytes: MAX_REPORT_BYTES,
      responses: { 200: { description: 'taken', schema: reportAnswer } },
      handle: async ({ body, rawBody, request }) => ({
        status: 200,
        body: await takeReport(ca, body, fromMachine(rawBody, request), log),
      }),
    }),
  ];
}

function fromMachine(rawBody: Buffer, request: SignedRequest['request']): SignedRequest {
  requireReleaseNear(request);
  return { rawBody, request };
}

function certificateBody({ certificate, serial, validBefore, record }: IssuedHostCertificate) {
  return { certificate, serial: serial.toString(), valid_before: validBefore.toISOString(), record };
}
