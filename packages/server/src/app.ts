/**
 * The HTTP face of a server: a table of routes behind a table of checks, the same for all, in one order. Every answer
 * carries a request id, `no-store` and strict headers; every refusal is a problem document (DESIGN.md section 9). What
 * is mounted beside the routes (an authorization server, static files) stands behind the same outer checks.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createId } from '@beacon/protocol/id';
import express, { type ErrorRequestHandler } from 'express';
import helmet from 'helmet';
import { ServerError } from './error.ts';
import type { Limits } from './limits.ts';
import { beginOutcome, type Log, logRequests, outcomeOf } from './log.ts';
import type { Metrics } from './metrics.ts';
import { rewriteHeaders, trustProxies } from './peer.ts';
import { refusalOf } from './problem.ts';
import { sendAnswer, sendRefusal } from './response.ts';
import type { Credentials, Refusal, Route } from './route.ts';
import { answerRequest, type RefusedCaller } from './route-checks.ts';
import { groupByPath, routeFor, toExpressPath } from './route-table.ts';

export type MountHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => unknown;

export interface Mount {
  /** Default `/`: it sees what no route has answered. */
  readonly path?: string;
  readonly handler: MountHandler;
}

export interface AppOptions<Caller> {
  readonly routes: readonly Route[];
  /** Who is asking, for a route's word of access (never `public`). Throws what `toProblem` or this package knows. */
  readonly authenticate: (credentials: Credentials, access: string) => Promise<Caller>;
  /**
   * Called when a check after `authenticate` refuses a caller, before the refusal is sent; when it rejects, that is what
   * is answered.
   */
  readonly onRefused?: (refused: RefusedCaller<Caller>) => Promise<void>;
  /** A stable text for a caller: limits count by it, and it stands in the log. */
  readonly callerKey?: (caller: Caller) => string;
  /** A stable text for the service that a caller came through, where it has proven itself: a limit counts by it. */
  readonly serviceKey?: (caller: Caller) => string | undefined;
  /** What an error of the program says over the wire; undefined leaves it to this package, which knows its own. */
  readonly toProblem: (error: unknown) => Refusal | undefined;
  readonly log: Log;
  readonly metrics?: Metrics;
  readonly limits?: Limits;
  /** Scheme and authority under which the server is reached, without a path: `https://ca.example.org`. */
  readonly publicUrl: string;
  readonly trustedProxies?: readonly string[];
  readonly mount?: readonly Mount[];
  /** Default 64 KiB. */
  readonly maxBodyBytes?: number;
  /** How long a route may take before `unavailable` is answered. Default 30,000. */
  readonly timeoutMs?: number;
  readonly now?: () => Date;
}

const MAX_URL = 8 * 1024;
const SINGLE_HEADERS = new Set(['authorization', 'dpop', 'content-type', 'content-length', 'host']);

/** Throws ServerError `definition` or `configuration` when routes, public URL or proxies do not make sense. */
export function createApp<Caller>(options: AppOptions<Caller>): RequestListener {
  const publicUrl = readPublicUrl(options.publicUrl);
  const peerAddress = trustProxies(options.trustedProxies ?? []);
  const now = options.now ?? (() => new Date());
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.enable('case sensitive routing');
  app.enable('strict routing');
  // True only because `rewriteHeaders` has written what express will read.
  app.set('trust proxy', true);
  app.set('query parser', false);

  app.use((request, response, next) => {
    const id = createId(now().getTime());
    const ip = peerAddress(request);
    const path = request.originalUrl.split('?', 1).join('');
    beginOutcome(response, { route: 'none', id, ip, path });
    response.setHeader('x-request-id', id);
    response.setHeader('cache-control', 'no-store');
    rewriteHeaders(request, { id, ip, publicUrl });
    next();
  });
  const writeLog = logRequests(options.log);
  app.use((request, response, next) => {
    writeLog(request, response);
    next();
  });
  if (options.metrics !== undefined) app.use(measure(options.metrics));
  app.use(strictHeaders(publicUrl));
  app.use(async (request, response, next) => {
    await options.limits?.address(outcomeOf(response)?.ip ?? '');
    checkTarget(request);
    next();
  });
  for (const [path, routes] of groupByPath(options.routes)) {
    app.all(toExpressPath(path), async (request, response) => {
      const outcome = outcomeOf(response);
      if (outcome !== undefined) outcome.route = path;
      const route = routeFor(routes, request.method);
      await sendAnswer(response, await answerRequest({ route, request, response, options, publicUrl }));
    });
  }
  for (const { path = '/', handler } of options.mount ?? []) {
    app.use(path, (request, response, next) => {
      const outcome = outcomeOf(response);
      if (outcome !== undefined) outcome.route = `${path === '/' ? '' : path}/*`;
      return handler(request, response, next);
    });
  }
  app.use((_request, response) => {
    const outcome = outcomeOf(response);
    if (outcome !== undefined) outcome.route = 'none';
    throw new ServerError(
      'path-unknown',
      'There is nothing at this path: see /openapi.json for what there is.',
    );
  });
  const refuse: ErrorRequestHandler = (error: unknown, request, response, _next) => {
    sendError(readable(error), request, response, options);
  };
  app.use(refuse);
  return app;
}

function checkTarget(request: express.Request): void {
  const url = request.originalUrl;
  if (!url.startsWith('/') || url.includes('#') || url.length > MAX_URL) {
    throw new ServerError(
      'path-malformed',
      `The request's target must be a path of at most ${MAX_URL} characters.`,
    );
  }
  const seen = new Set<string>();
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    const name = (request.rawHeaders[i] ?? '').toLowerCase();
    if (SINGLE_HEADERS.has(name) && seen.has(name)) {
      throw new ServerError('header-doubled', `The header ${name} stands twice: send it once.`);
    }
    seen.add(name);
  }
}

function sendError<Caller>(
  error: unknown,
  request: IncomingMessage,
  response: ServerResponse,
  options: AppOptions<Caller>,
): void {
  const refusal = refusalOf(error, options.toProblem);
  const id = outcomeOf(response)?.id;
  if (refusal.kind === 'internal') options.log.error({ err: error, id }, 'a request failed');
  else if (refusal.kind === 'unavailable')
    options.log.warn({ err: error, id }, 'a request could not be served');
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (response.destroyed || (request.destroyed && !request.complete)) {
    response.destroy();
    return;
  }
  sendRefusal(response, refusal);
}

/** What express itself throws for a path that cannot be decoded. */
function readable(error: unknown): unknown {
  return error instanceof URIError
    ? new ServerError('path-malformed', 'The path is not well-formed: check its percent-encoding.', {
        cause: error,
      })
    : error;
}

function strictHeaders(publicUrl: URL): MountHandler {
  const nothing = ["'none'"];
  return helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: nothing, baseUri: nothing, formAction: nothing, frameAncestors: nothing },
    },
    frameguard: { action: 'deny' },
    referrerPolicy: { policy: 'no-referrer' },
    strictTransportSecurity:
      publicUrl.protocol === 'https:' ? { maxAge: 31_536_000, includeSubDomains: false } : false,
  });
}

function measure(metrics: Metrics): MountHandler {
  return (request, response, next) => {
    const start = process.hrtime.bigint();
    response.once('close', () => {
      const { route = 'none', code } = outcomeOf(response) ?? {};
      metrics.observeRequest(
        {
          method: request.method ?? '',
          route,
          status: response.statusCode,
          ...(code === undefined ? {} : { code }),
        },
        Number(process.hrtime.bigint() - start) / 1e9,
      );
    });
    next();
  };
}

function readPublicUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (
    url === undefined ||
    !/^https?:$/.test(url.protocol) ||
    url.pathname !== '/' ||
    `${url.origin}/` !== url.href
  ) {
    throw new ServerError(
      'configuration',
      `the public URL must be a scheme and a host without a path, such as https://ca.example.org, not ${JSON.stringify(text)}`,
    );
  }
  return url;
}
