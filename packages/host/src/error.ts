/**
 * The one error class of this package. `code` says which rule refused or what failed, `kind` is one of the eight of
 * DESIGN.md section 9. A defect that `check` finds is a value, not an error.
 */
import type { Problem, ProblemKind } from '@beacon/protocol/problem';

const kinds = {
  usage: 'invalid',
  'not-root': 'denied',
  'cannot-work-here': 'invalid',
  'payload-missing': 'not-found',
  'trust-refused': 'invalid',
  'trust-went-back': 'denied',
  'trust-stale': 'unavailable',
  'clock-wrong': 'unavailable',
  'answer-malformed': 'unavailable',
  'ca-refused': 'denied',
  'head-refused': 'denied',
  'host-key-missing': 'invalid',
  'certificate-refused': 'denied',
  'root-key-differs': 'denied',
  'token-missing': 'invalid',
  'self-test-failed': 'unavailable',
  'sshd-refuses': 'invalid',
  'sshd-differs': 'invalid',
  'sudo-refuses': 'invalid',
  'step-failed': 'unavailable',
  'rolled-back': 'unavailable',
  'not-a-host': 'not-found',
  'other-host': 'conflict',
  'state-damaged': 'unavailable',
  locked: 'conflict',
  stopped: 'unavailable',
} as const satisfies Record<string, ProblemKind>;

export type HostErrorCode = keyof typeof kinds;

export interface HostErrorOptions extends ErrorOptions {
  /** What the CA said; only with `ca-refused`. */
  readonly refusal?: Problem;
  /** Where the CA's own word is better than the code's. */
  readonly kind?: ProblemKind;
}

export class HostError extends Error {
  override readonly name = 'HostError';
  readonly code: HostErrorCode;
  readonly kind: ProblemKind;
  readonly refusal?: Problem;

  constructor(code: HostErrorCode, message: string, options: HostErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.kind = options.kind ?? kinds[code];
    if (options.refusal !== undefined) this.refusal = options.refusal;
  }
}
