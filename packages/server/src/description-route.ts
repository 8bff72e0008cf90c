/** `GET /openapi.json`: a server's own description of its routes. */
import { createOpenApiDocument } from '@beacon/protocol/http/openapi';
import { defineRoute, type Route } from './route.ts';

/** `described` names the server and its routes; the document is made when somebody first asks for it, since that takes a while. */
export function descriptionRoute(described: Parameters<typeof createOpenApiDocument>[0]): Route {
  let document: object | undefined;
  return defineRoute({
    method: 'GET',
    path: '/openapi.json',
    summary: 'This document',
    tag: 'operation',
    access: 'public',
    request: {},
    responses: { 200: { description: 'OpenAPI 3.1' } },
    handle: () => {
      document ??= createOpenApiDocument(described);
      return { status: 200, body: document };
    },
  });
}
