/**
 * The one error class of this package. A denial by policy is a value, not one of these; it becomes an error only at the
 * edge, as the answer `denied`. `kind` is how it crosses the wire, `code` which rule refused.
 */
import type { ProblemKind } from '@beacon/protocol';
import type { Json } from '@beacon/protocol/strict-json';

const kinds = {
  'token-missing': 'unauthenticated',
  'token-invalid': 'unauthenticated',
  'token-expired': 'unauthenticated',
  'session-ended': 'unauthenticated',
  'session-ending': 'unauthenticated',
  'sign-in-needed': 'unauthenticated',
  'proof-missing': 'unauthenticated',
  'proof-invalid': 'unauthenticated',
  'proof-replayed': 'unauthenticated',
  'proof-body': 'unauthenticated',
  'key-proof-missing': 'unauthenticated',
  'key-proof-invalid': 'unauthenticated',
  'public-key-malformed': 'invalid',
  'public-key-refused': 'invalid',
  'arguments-malformed': 'invalid',
  'request-malformed': 'invalid',
  'grant-too-long': 'invalid',
  'host-unknown': 'not-found',
  'certificate-unknown': 'not-found',
  'session-unknown': 'not-found',
  'person-unknown': 'not-found',
  'host-disabled': 'denied',
  'host-changed': 'conflict',
  'host-exists': 'conflict',
  'person-disabled': 'denied',
  'policy-denied': 'denied',
  'key-in-use': 'conflict',
  'key-revoked': 'denied',
  'service-refused': 'denied',
  'grant-unknown': 'not-found',
  'grant-refused': 'denied',
  'github-unavailable': 'unavailable',
  'signer-unavailable': 'unavailable',
  'clock-went-back': 'unavailable',
  'ca-key-revoked': 'unavailable',
  'ca-key-missing': 'unavailable',
  'ca-key-unknown': 'not-found',
  'host-token-refused': 'unauthenticated',
  'host-token-unknown': 'not-found',
  'host-signature-invalid': 'unauthenticated',
  'host-request-stale': 'unauthenticated',
  'host-request-replayed': 'unauthenticated',
  'host-certificate-ended': 'denied',
  'release-apart': 'conflict',
  'host-limit': 'limited',
  'self-test-over': 'denied',
  'head-refused': 'conflict',
  'head-gap': 'conflict',
  'head-overtaken': 'conflict',
  'trust-unpublished': 'not-found',
  'trust-root-refused': 'invalid',
  'trust-root-version': 'conflict',
  'trust-root-handover': 'invalid',
  'rotation-waits': 'conflict',
  'rotation-done': 'conflict',
  'row-unverified': 'internal',
  configuration: 'invalid',
  inventory: 'invalid',
  services: 'invalid',
  policy: 'invalid',
  keys: 'invalid',
  'init-refused': 'conflict',
  /** A file or folder of this machine that cannot be read, written or made. */
  file: 'unavailable',
  listen: 'unavailable',
  'not-ready': 'unavailable',
  store: 'unavailable',
  /** The store was written by a newer program. An exit status of its own kind, for starting again cannot help. */
  'store-newer': 'invalid',
} as const satisfies Record<string, ProblemKind>;

export type CaErrorCode = keyof typeof kinds;

export interface CaErrorOptions {
  readonly cause?: unknown;
  /** What a denial says beyond its text. */
  readonly denial?: { readonly [key: string]: Json };
  /** How long to wait before trying again, where that is known. */
  readonly retryAfterMs?: number;
}

export class CaError extends Error {
  readonly code: CaErrorCode;
  readonly kind: ProblemKind;
  readonly denial: { readonly [key: string]: Json } | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: CaErrorCode, message: string, options: CaErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'CaError';
    this.code = code;
    this.kind = kinds[code];
    this.denial = options.denial;
    this.retryAfterMs = options.retryAfterMs;
  }
}
