/**
 * The one error class of this package. `code` says which rule refused or what failed; `kind` is how it would cross the
 * wire elsewhere (DESIGN.md section 9). A refusal becomes a value where a session answers it, by `refusalOf`: then the
 * codes of `@beacon/ssh` and `@beacon/protocol` stand for the rules of theirs.
 */
import { ProtocolError, type ProtocolErrorCode } from '@beacon/protocol/error';
import type { ProblemKind } from '@beacon/protocol/problem';
import { SshError, type SshErrorCode } from '@beacon/ssh/error';

const kinds = {
  // who is asking
  'not-from-sshd': 'denied',
  'certificate-missing': 'unauthenticated',
  'grant-missing': 'denied',
  'grant-differs': 'denied',
  'certificate-used': 'denied',
  'replacement-refused': 'denied',
  // what the host trusts
  'stale-trust': 'unavailable',
  'trust-refused': 'unavailable',
  'trust-went-back': 'unavailable',
  'clock-went-back': 'unavailable',
  // what is asked
  'grant-ended': 'denied',
  'command-not-granted': 'denied',
  'arguments-differ': 'denied',
  'already-started': 'denied',
  'undo-differs': 'denied',
  'command-not-allowed': 'denied',
  'parameter-missing': 'denied',
  'parameter-unknown': 'denied',
  'parameter-secret': 'denied',
  'parameter-not-secret': 'denied',
  'value-refused': 'denied',
  'run-over': 'denied',
  // this machine
  'allowlist-refused': 'invalid',
  'path-unsafe': 'invalid',
  'account-missing': 'invalid',
  'pool-empty': 'limited',
  busy: 'conflict',
  'too-many-gates': 'limited',
  'records-damaged': 'unavailable',
  'state-unavailable': 'unavailable',
  'cannot-start': 'unavailable',
  usage: 'invalid',
} as const satisfies Record<string, ProblemKind>;

export type GateErrorCode = keyof typeof kinds;

export class GateError extends Error {
  readonly code: GateErrorCode;
  readonly kind: ProblemKind;

  constructor(code: GateErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'GateError';
    this.code = code;
    this.kind = kinds[code];
  }
}

/** Why something was refused. The reason is for a person; only the code is written down. */
export interface Refusal {
  readonly code: GateErrorCode | SshErrorCode | ProtocolErrorCode | 'internal';
  readonly reason: string;
}

/** What an error refuses. What nobody foresaw refuses too, and says nothing of itself to the other side. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof GateError || error instanceof SshError || error instanceof ProtocolError) {
    return { code: error.code, reason: error.message };
  }
  return { code: 'internal', reason: "the gate failed; the host's log says how" };
}
