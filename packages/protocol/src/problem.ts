/**
 * How a Beacon server says no: `application/problem+json` (RFC 9457). Eight kinds cross the wire; they are mapped once
 * to HTTP (the server's app) and once to exit status (the command line). `detail` is for the person, carries no secret,
 * path or stack, and ends with what to do; the cause goes to the log under the same `id`.
 */
import { type Json, parseStrictJson } from './strict-json.ts';

export const problemKinds = [
  'invalid',
  'unauthenticated',
  'denied',
  'not-found',
  'conflict',
  'limited',
  'unavailable',
  'internal',
] as const;

export type ProblemKind = (typeof problemKinds)[number];

export interface Problem {
  /** A URN that ends in the kind. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** Which rule refused, stable for programs. */
  readonly code: string;
  readonly detail: string;
  /** The request's id, under which the server's log has the cause. */
  readonly id: string;
  /** What a denial says beyond its text: what one change would have allowed it, the limits, the policies that decided. */
  readonly denial?: { readonly [key: string]: Json };
}

const PREFIX = 'urn:beacon:problem:';

/** The problem's `type` for a kind. */
export function problemType(kind: ProblemKind): string {
  return `${PREFIX}${kind}`;
}

/** The kind that a `type` names; undefined for a stranger's. */
export function problemKind(type: string): ProblemKind | undefined {
  return problemKinds.find((kind) => problemType(kind) === type);
}

/** Reads a problem document; undefined when the text is none of ours. */
export function readProblem(text: string): Problem | undefined {
  let value: Json;
  try {
    value = parseStrictJson(text);
  } catch {
    return undefined;
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return undefined;
  const { type, title, status, code, detail, id, denial } = value;
  if (typeof type !== 'string' || typeof title !== 'string' || typeof status !== 'number') return undefined;
  if (typeof code !== 'string' || typeof detail !== 'string' || typeof id !== 'string') return undefined;
  const extra =
    denial !== undefined && denial !== null && typeof denial === 'object' && !Array.isArray(denial)
      ? { denial }
      : {};
  return { type, title, status, code, detail, id, ...extra };
}
