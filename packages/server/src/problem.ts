/**
 * How a refusal leaves a server: `application/problem+json` (RFC 9457). The one place where the eight kinds become HTTP
 * statuses. Two texts: the person's goes out, the cause goes to the log under the same id.
 */
import { type Problem, type ProblemKind, problemType } from '@beacon/protocol/problem';
import { storageFailure } from './database.ts';
import { kindOf, ServerError } from './error.ts';
import type { Refusal } from './route.ts';

const statuses: Readonly<Record<ProblemKind, readonly [status: number, title: string]>> = {
  invalid: [400, 'The request is not valid'],
  unauthenticated: [401, 'Who is asking is not known'],
  denied: [403, 'Not allowed'],
  'not-found': [404, 'Not found'],
  conflict: [409, 'In conflict with what is there'],
  limited: [429, 'Too many requests'],
  unavailable: [503, 'Not available now'],
  internal: [500, 'Something went wrong here'],
};

/** RFC 9110 asks for this one status beside the kinds, with an `Allow` header. */
const METHOD_NOT_ALLOWED = 405;

/** The HTTP status of a kind. */
export function statusOf(kind: ProblemKind): number {
  return statuses[kind][0];
}

export interface ProblemAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly problem: Problem;
}

/** The answer for a refusal. What an `internal` one says is for the log alone. */
export function answerRefusal(refusal: Refusal, id: string): ProblemAnswer {
  const [kindStatus, title] = statuses[refusal.kind];
  const status = refusal.code === 'method-not-allowed' ? METHOD_NOT_ALLOWED : kindStatus;
  const internal = refusal.kind === 'internal';
  const problem: Problem = {
    type: problemType(refusal.kind),
    title,
    status,
    code: internal ? 'internal' : refusal.code,
    detail: internal
      ? `The server's log has the cause under ${id}: tell the operator this id.`
      : refusal.detail,
    id,
    ...(refusal.denial === undefined ? {} : { denial: refusal.denial }),
  };
  return { status, headers: refusal.headers ?? {}, problem };
}

/**
 * What an error says over the wire: the caller's own errors first, then this package's and the store's; everything else
 * is internal.
 */
export function refusalOf(error: unknown, toProblem: (error: unknown) => Refusal | undefined): Refusal {
  const own = toProblem(error);
  if (own !== undefined) return own;
  const known = error instanceof ServerError ? error : storageFailure(error);
  if (known === undefined) return { kind: 'internal', code: 'internal', detail: '' };
  const kind = kindOf(known.code);
  return {
    kind,
    code: known.code,
    detail: kind === 'unavailable' ? 'The server cannot do this now: try again soon.' : known.message,
    ...(known.headers === undefined ? {} : { headers: known.headers }),
  };
}
