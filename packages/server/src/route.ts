/**
 * A route as a value: method, path, what it takes, what it answers, and the function that does it. The schemas that
 * validate are those that describe the interface to others; `app.ts` runs the checks, in the same order for all.
 */
import type { ProblemKind } from '@beacon/protocol/problem';
import type { Json } from '@beacon/protocol/strict-json';
import type { ZodObject, ZodType, z } from 'zod';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** What is known of a request before anything of it is believed. */
export interface RequestFacts {
  /** Made here; it stands in the answer (`x-request-id`), in a problem's `id` and in the log. */
  readonly id: string;
  /** The peer, or whom a trusted proxy named. */
  readonly ip: string;
  readonly method: string;
  /** The path without its query. */
  readonly path: string;
  /** The configured public URL with this path, without the query: what a DPoP proof's `htu` must say. */
  readonly url: string;
  /** Lower-case names. `host` and `x-forwarded-*` are rewritten by the app and say nothing of the peer's choosing. */
  readonly headers: Readonly<Record<string, string | undefined>>;
}

/** What `authenticate` is given: the facts and the exact bytes of the body. */
export interface Credentials {
  readonly request: RequestFacts;
  readonly rawBody: Buffer;
}

/** The schemas of what a route takes. What is not named here is refused when it comes. */
export interface RequestSchemas {
  /** All values arrive as strings. */
  readonly params?: ZodObject;
  /** All values arrive as strings; a doubled or unknown key is refused before the schema sees it. */
  readonly query?: ZodObject;
  /** By lower-case name; headers that are not named here are not looked at. */
  readonly headers?: ZodObject;
  /** `application/json`, read by the strict parser. Use strict objects. */
  readonly body?: ZodType;
}

export interface ResponseDescription {
  readonly description: string;
  readonly schema?: ZodType;
  /** Default `application/json` with a schema. */
  readonly contentType?: string;
}

/** What a refusal says: mapped to HTTP in one place, `problem.ts`. */
export interface Refusal {
  readonly kind: ProblemKind;
  /** Which rule refused, stable for programs. */
  readonly code: string;
  /** For the person: no secret, no path, no stack; ends with what to do. */
  readonly detail: string;
  /** What a denial says beyond its text. */
  readonly denial?: { readonly [key: string]: Json };
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer that is written piece by piece, as fast as it is taken. Once it has begun no time is set for its end. */
export interface StreamAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Its iterator is told to return when the caller has gone. What it throws cuts the connection. */
  readonly stream: AsyncIterable<string | Buffer>;
}

/** A string or a Buffer goes out as it is (name its `content-type`), everything else as JSON. */
export type Answer =
  | { readonly status: number; readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> }
  | StreamAnswer
  | { readonly refusal: Refusal };

type Parsed<Schema> = Schema extends ZodType ? z.output<Schema> : undefined;

/** `public` needs no proof and gives the caller `undefined`; every other word is `authenticate`'s to know. */
export type CallerOf<Caller, Access> = [Access] extends ['public'] ? undefined : Caller;

export interface RouteInput<Caller, Access, Schemas extends RequestSchemas> {
  readonly params: Parsed<Schemas['params']>;
  readonly query: Parsed<Schemas['query']>;
  readonly headers: Parsed<Schemas['headers']>;
  readonly body: Parsed<Schemas['body']>;
  /** The exact bytes of the body; empty without one. */
  readonly rawBody: Buffer;
  readonly caller: CallerOf<Caller, Access>;
  readonly request: RequestFacts;
  /** Aborted when the caller has gone or the time is over; of a stream, when the caller has gone. */
  readonly signal: AbortSignal;
}

export interface RouteDefinition<Caller, Access extends string, Schemas extends RequestSchemas> {
  readonly method: Method;
  /** As OpenAPI writes it: `/v1/certificates/{serial}`. GET also answers HEAD. */
  readonly path: string;
  readonly summary: string;
  readonly tag: string;
  readonly access: Access;
  readonly request: Schemas;
  /** By status. */
  readonly responses: Readonly<Record<number, ResponseDescription>>;
  /** The longest body in bytes; the app's limit when absent. */
  readonly maxBodyBytes?: number;
  readonly handle: (input: RouteInput<Caller, Access, Schemas>) => Answer | Promise<Answer>;
}

/** A route whose types have been checked at its definition. */
export interface Route extends Omit<RouteDefinition<unknown, string, RequestSchemas>, 'handle'> {
  readonly handle: (input: ErasedInput) => Answer | Promise<Answer>;
}

export interface ErasedInput {
  readonly params: unknown;
  readonly query: unknown;
  readonly headers: unknown;
  readonly body: unknown;
  readonly rawBody: Buffer;
  readonly caller: unknown;
  readonly request: RequestFacts;
  readonly signal: AbortSignal;
}

export type DefineRoute<Caller, AccessWord extends string> = <
  const Access extends AccessWord | 'public',
  const Schemas extends RequestSchemas,
>(
  definition: RouteDefinition<Caller, Access, Schemas>,
) => Route;

/**
 * `defineRoute` for a server whose `authenticate` gives a `Caller` for each word of access:
 * `const defineRoute = routeDefiner<CaCaller, 'session' | 'service'>()`.
 */
export function routeDefiner<Caller, AccessWord extends string>(): DefineRoute<Caller, AccessWord> {
  return (definition) => definition as unknown as Route;
}

/** {@link routeDefiner} for routes that look at no caller's type. */
export const defineRoute: DefineRoute<unknown, string> = routeDefiner<unknown, string>();
