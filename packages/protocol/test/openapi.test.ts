import {
  certificateAnswer,
  certificateQuery,
  certificateRequest,
  decisionAnswer,
} from '@beacon/protocol/http/certificates';
import { createOpenApiDocument } from '@beacon/protocol/http/openapi';
import { revocationRequest } from '@beacon/protocol/http/revocations';
import { expect, test } from '@jest/globals';

test('describes routes from the schemas that validate them, named schemas as components', () => {
  const document = createOpenApiDocument({
    title: 'CA',
    version: '1',
    server: 'https://ca.example',
    routes: [
      {
        method: 'POST',
        path: '/v1/certificates/{serial}',
        summary: 'x',
        tag: 't',
        access: 'session',
        request: { body: certificateRequest, query: certificateQuery },
        responses: { 201: { description: 'issued', schema: certificateAnswer } },
      },
      {
        method: 'POST',
        path: '/v1/revocations',
        summary: 'x',
        tag: 't',
        access: 'session',
        request: { body: revocationRequest },
        responses: { 200: { description: 'done', schema: decisionAnswer } },
      },
    ],
  });
  const text = JSON.stringify(document);
  expect(text).toContain('"#/components/schemas/CertificateRequest"');
  expect(text).toContain('/v1/certificates/{serial}');
  expect(text).toContain('"additionalProperties":false');
});
