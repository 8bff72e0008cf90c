import { expect, test } from '@jest/globals';
import { certificateAnswer, certificateQuery, certificateRequest, decisionAnswer } from '@beacon/protocol/http/certificates';
import { createOpenApiDocument } from '@beacon/protocol/http/openapi';
import { revocationRequest } from '@beacon/protocol/http/revocations';

test('describes routes from the schemas that validate them, named schemas as components', () => {
  const document = createOpenApiDocument({
    title: 'CA',
    version: '1',
    server: 'https://ca.example',
    routes: [
      {
        method: 'post',
        path: '/v1/certificates/:serial',
        summary: 'x',
        tag: 't',
        public: false,
        request: { body: certificateRequest, query: certificateQuery },
        responses: { 201: { description: 'issued', body: certificateAnswer } },
      },
      {
        method: 'post',
        path: '/v1/revocations',
        summary: 'x',
        tag: 't',
        public: false,
        request: { body: revocationRequest },
        responses: { 200: { description: 'done', body: decisionAnswer } },
      },
    ],
  });
  const text = JSON.stringify(document);
  expect(text).toContain('"#/components/schemas/CertificateRequest"');
  expect(text).toContain('/v1/certificates/{serial}');
  expect(text).toContain('"additionalProperties":false');
});
