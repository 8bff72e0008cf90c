/** The OpenAPI 3.1 document of a Beacon server, made from the schemas that validate its requests. */
import { extendZodWithOpenApi, OpenAPIRegistry, OpenApiGeneratorV31 } from '@asteasolutions/zod-to-openapi';
import { z } from 'zod';
import { problemKinds } from '../problem.ts';

extendZodWithOpenApi(z);

/** What the document needs to know of a route; the server's own routes have this shape. */
export interface DescribedRoute {
  readonly method: string;
  /** As OpenAPI writes it: `/v1/certificates/{serial}`. */
  readonly path: string;
  readonly summary: string;
  readonly tag: string;
  /** `public`, or a word for what a caller must show. */
  readonly access: string;
  readonly request: {
    readonly params?: z.ZodObject;
    readonly query?: z.ZodObject;
    readonly headers?: z.ZodObject;
    readonly body?: z.ZodType;
  };
  readonly responses: Readonly<
    Record<
      number,
      { readonly description: string; readonly schema?: z.ZodType; readonly contentType?: string }
    >
  >;
}

const problem = z
  .strictObject({
    type: z
      .string()
      .meta({ example: 'urn:beacon:problem:denied', description: `one of ${problemKinds.join(', ')}` }),
    title: z.string(),
    status: z.int(),
    code: z.string().meta({ description: 'which rule refused' }),
    detail: z.string().meta({ description: 'for the person; ends with what to do' }),
    id: z.string().meta({ description: "the request's id in the server's log" }),
    denial: z.record(z.string(), z.unknown()).optional(),
  })
  .meta({ id: 'Problem' });

/** The document as a value ready for JSON. `server` is the public URL. */
export function createOpenApiDocument(options: {
  readonly title: string;
  readonly version: string;
  readonly server: string;
  readonly routes: readonly DescribedRoute[];
}): object {
  const registry = new OpenAPIRegistry();
  registry.registerComponent('securitySchemes', 'dpop', {
    type: 'http',
    scheme: 'DPoP',
    description:
      'An access token for this server, bound to a key (RFC 9449); the proof also carries the SHA-256 of the body as `body`.',
  });
  for (const route of options.routes) {
    const { params, query, headers, body } = route.request;
    registry.registerPath({
      method: route.method.toLowerCase() as 'get' | 'post' | 'put' | 'patch' | 'delete',
      path: route.path,
      summary: route.summary,
      tags: [route.tag],
      security: route.access === 'public' ? [] : [{ dpop: [] }],
      request: {
        ...(params === undefined ? {} : { params }),
        ...(query === undefined ? {} : { query }),
        ...(headers === undefined ? {} : { headers }),
        ...(body === undefined
          ? {}
          : { body: { required: true, content: { 'application/json': { schema: body } } } }),
      },
      responses: {
        ...Object.fromEntries(
          Object.entries(route.responses).map(([status, response]) => [
            status,
            {
              description: response.description,
              ...(response.schema === undefined
                ? {}
                : { content: { [response.contentType ?? 'application/json']: { schema: response.schema } } }),
            },
          ]),
        ),
        default: { description: 'refused', content: { 'application/problem+json': { schema: problem } } },
      },
    });
  }
  return new OpenApiGeneratorV31(registry.definitions).generateDocument({
    openapi: '3.1.0',
    info: { title: options.title, version: options.version },
    servers: [{ url: options.server }],
  });
}
