/**
 * The checks between a request and a route's own work: a table, in the same order for every route (path, query, headers,
 * bytes of the body, who is asking, shape of the body). The body's bytes come before the caller, for a proof covers them; its
 * shape comes after, so that a stranger learns nothing of it.
 */
import type { ServerResponse } from 'node:http';
import { didYouMean } from '@beacon/protocol/nearest';
import type { Request } from 'express';
import type { ZodType } from 'zod';
import { ServerError } from './error.ts';
import type { Limits } from './limits.ts';
import { outcomeOf } from './log.ts';
import { announcesBody, parseBody, readBody } from './request-body.ts';
import type { Answer, Credentials, ErasedInput, RequestFacts, Route } from './route.ts';
import { describeIssues, formatIssues } from './schema-issue.ts';

/** A caller who is known, and what refused the request before the route saw it. */
export interface RefusedCaller<Caller> {
  readonly caller: Caller;
  readonly error: unknown;
  readonly request: RequestFacts;
}

/** What the checks need of the app. */
export interface RouteSettings<Caller> {
  readonly authenticate: (credentials: Credentials, access: string) => Promise<Caller>;
  readonly onRefused?: (refused: RefusedCaller<Caller>) => Promise<void>;
  readonly callerKey?: (caller: Caller) => string;
  readonly serviceKey?: (caller: Caller) => string | undefined;
  readonly limits?: Limits;
  readonly maxBodyBytes?: number;
  readonly timeoutMs?: number;
}

export interface Exchange<Caller> {
  readonly route: Route;
  readonly request: Request;
  readonly response: ServerResponse;
  readonly options: RouteSettings<Caller>;
  readonly publicUrl: URL;
}

/** What the checks find out, one after the other. */
interface Findings {
  params?: unknown;
  query?: unknown;
  headers?: unknown;
  body?: unknown;
  rawBody: Buffer;
  caller?: unknown;
}

type Check = <Caller>(
  exchange: Exchange<Caller>,
  findings: Findings,
  facts: RequestFacts,
) => void | Promise<void>;

/** The checks before a route's own work, in this order for every route. */
const checks: readonly Check[] = [
  function readParams({ route, request }, findings) {
    findings.params = validate(route.request.params, request.params, 'path-malformed', 'The path');
  },
  function readQuery({ route, request }, findings) {
    findings.query = validate(
      route.request.query,
      singleQueryValues(request.originalUrl, Object.keys(route.request.query?.shape ?? {})),
      'query-malformed',
      'The query',
    );
  },
  function readHeaders({ route }, findings, facts) {
    const named = Object.keys(route.request.headers?.shape ?? {});
    const given = named.filter((name) => facts.headers[name] !== undefined);
    findings.headers = validate(
      route.request.headers,
      Object.fromEntries(given.map((name) => [name, facts.headers[name]])),
      'header-malformed',
      'A header',
    );
  },
  async function readRawBody({ route, request, options }, findings) {
    if (route.request.body !== undefined) {
      findings.rawBody = await readBody(request, route.maxBodyBytes ?? options.maxBodyBytes ?? 65_536);
    } else if (announcesBody(request)) {
      throw new ServerError('body-unexpected', 'This request takes no body: send none.', {
        headers: { connection: 'close' },
      });
    }
  },
  async function authenticate({ route, response, options }, findings, request) {
    if (route.access === 'public') return;
    const caller = await options.authenticate({ request, rawBody: findings.rawBody }, route.access);
    findings.caller = caller;
    const service = options.serviceKey?.(caller);
    if (service !== undefined) await options.limits?.service(service, request.ip);
    const key = options.callerKey?.(caller);
    if (key === undefined) return;
    const outcome = outcomeOf(response);
    if (outcome !== undefined) outcome.caller = key;
    await options.limits?.caller(key);
  },
  function readBodyShape({ route }, findings) {
    if (route.request.body === undefined) return;
    findings.body = validate(route.request.body, parseBody(findings.rawBody), 'body-malformed', 'The body');
  },
];

/** Runs the checks, then the route. */
export async function answerRequest<Caller>(exchange: Exchange<Caller>): Promise<Answer> {
  const { route, request, response, options, publicUrl } = exchange;
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const facts = factsOf(request, response, publicUrl);
  const findings: Findings = { rawBody: Buffer.alloc(0) };
  return withinTime(options.timeoutMs ?? 30_000, gone, async (signal) => {
    try {
      for (const check of checks) await check(exchange, findings, facts);
    } catch (error) {
      if (findings.caller !== undefined)
        await options.onRefused?.({ caller: findings.caller as Caller, error, request: facts });
      throw error;
    }
    const nothing = { params: undefined, query: undefined, headers: undefined, body: undefined };
    const input = { ...nothing, caller: undefined, ...findings };
    return route.handle({ ...input, request: facts, signal } satisfies ErasedInput);
  });
}

function factsOf(request: Request, response: ServerResponse, publicUrl: URL): RequestFacts {
  const outcome = outcomeOf(response);
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(', ') : value,
    ]),
  );
  const path = outcome?.path ?? '';
  return {
    id: outcome?.id ?? '',
    ip: outcome?.ip ?? '',
    method: request.method,
    path,
    url: publicUrl.origin + path,
    headers,
  };
}

async function withinTime(
  timeoutMs: number,
  gone: AbortController,
  work: (signal: AbortSignal) => Promise<Answer>,
): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new ServerError('took-too-long', `no answer within ${timeoutMs} ms`));
      gone.abort();
    }, timeoutMs);
  });
  try {
    return await Promise.race([work(gone.signal), late]);
  } finally {
    clearTimeout(timer);
  }
}

function validate(
  schema: ZodType | undefined,
  value: unknown,
  code: 'path-malformed' | 'query-malformed' | 'header-malformed' | 'body-malformed',
  what: string,
): unknown {
  if (schema === undefined) return undefined;
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new ServerError(
    code,
    `${what} is not as it must be: ${formatIssues(describeIssues(result.error, schema))}.`,
  );
}

/** The query as single values. A doubled key means different things to different readers; an unknown one means nothing. */
function singleQueryValues(url: string, known: readonly string[]): Record<string, string> {
  const start = url.indexOf('?');
  const values: Record<string, string> = {};
  if (start === -1) return values;
  for (const [key, value] of new URLSearchParams(url.slice(start + 1))) {
    const shown = JSON.stringify(key.slice(0, 80));
    if (!known.includes(key))
      throw new ServerError(
        'query-malformed',
        `The query has an unknown key ${shown}${didYouMean(key, known)}.`,
      );
    if (Object.hasOwn(values, key))
      throw new ServerError('query-malformed', `The query has the key ${shown} twice.`);
    values[key] = value;
  }
  return values;
}
