/**
 * The one error class of this package. A denial of the CA's is a value, not one of these. `code` says what went wrong,
 * `kind` how it crosses the wire (DESIGN.md section 9). Messages are for the person who asked for the run: they carry no
 * secret and no path, and end with what to do. Knows no HTTP status.
 */
import type { ProblemKind } from '@beacon/protocol';

/** Every code, with the kind that a caller over HTTP would see. */
const kinds = {
  // Connecting: with none of these was anything sent to the gate.
  /** No way there: closed port, no route, unknown name, no answer in time. */
  'host-unreachable': 'unavailable',
  /** What answers there has no certificate of the host CA for this host, or a revoked one. */
  'host-key-untrusted': 'unavailable',
  /** sshd does not take the certificate. */
  'certificate-refused': 'denied',
  /** The gate does not take the session; `reason` holds its own code. */
  'gate-refused': 'denied',
  /** sshd turns connections away, again and again. */
  'host-busy': 'unavailable',
  /** All of the host's gates are in use. */
  'gate-busy': 'unavailable',
  /** The host's clock and the CA's differ by more than a certificate allows. */
  'clock-skew': 'unavailable',
  'ssh-missing': 'internal',
  'jump-host': 'unavailable',
  /** Too many wait for a connection already. */
  'queue-full': 'limited',
  /** What came back was no gate's. */
  'gate-malformed': 'unavailable',
  'session-lost': 'unavailable',
  aborted: 'conflict',
  // What a caller asked for.
  'request-malformed': 'invalid',
  'host-unknown': 'not-found',
  'command-unknown': 'not-found',
  'procedure-unknown': 'not-found',
  'procedure-refused': 'invalid',
  'params-malformed': 'invalid',
  'idempotency-conflict': 'conflict',
  'wish-refused': 'conflict',
  'run-unknown': 'not-found',
  'too-many-runs': 'limited',
  'policy-denied': 'denied',
  // Who the caller is.
  'not-logged-in': 'unauthenticated',
  'session-ended': 'unauthenticated',
  'token-invalid': 'unauthenticated',
  'proof-invalid': 'unauthenticated',
  'origin-refused': 'denied',
  'login-failed': 'unauthenticated',
  // GitHub, in the place of the person.
  'github-unauthenticated': 'unauthenticated',
  'github-denied': 'denied',
  'github-not-found': 'not-found',
  'github-conflict': 'conflict',
  'github-busy': 'conflict',
  'github-refused': 'invalid',
  'github-limited': 'limited',
  'github-unavailable': 'unavailable',
  // The CA.
  'ca-unavailable': 'unavailable',
  'ca-refused': 'denied',
  // This broker itself.
  configuration: 'invalid',
  keys: 'invalid',
  'init-refused': 'conflict',
  file: 'unavailable',
  listen: 'unavailable',
  'not-ready': 'unavailable',
  store: 'unavailable',
  /** The store was written by a newer program. An exit status of its own kind, for starting again cannot help. */
  'store-newer': 'invalid',
  closed: 'unavailable',
  /** It ends in order, and takes no new runs. */
  stopping: 'unavailable',
  internal: 'internal',
} as const satisfies Record<string, ProblemKind>;

export type BrokerErrorCode = keyof typeof kinds;

export interface BrokerErrorOptions {
  readonly cause?: unknown;
  /** The code of whoever refused, where the refusal is not ours: the gate's (`stale-trust`), the CA's (`policy-denied`). */
  readonly reason?: string;
  /** How long to wait before trying again, where that is known. */
  readonly retryAfterMs?: number;
}

export class BrokerError extends Error {
  override readonly name = 'BrokerError';
  readonly code: BrokerErrorCode;
  readonly kind: ProblemKind;
  readonly reason: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: BrokerErrorCode, message: string, options: BrokerErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.kind = kinds[code];
    this.reason = options.reason;
    this.retryAfterMs = options.retryAfterMs;
  }
}
