/**
 * The one error class of this package. A `code` says which of our own checks failed, or `refused` when a server said no;
 * then `problem` is what the server said. A `kind` is one of the eight that cross the wire (DESIGN.md section 9), so that
 * a program maps it to its exit status or answer in one place. Texts that came from a server have lost their control
 * characters before they stand in a message.
 */
import type { Problem, ProblemKind } from '@beacon/protocol';

export type ClientErrorCode =
  // what was asked for
  | 'name-malformed'
  // the address of the CA and the way to it
  | 'url-malformed'
  | 'url-insecure'
  | 'unreachable'
  | 'timed-out'
  | 'aborted'
  // what came back
  | 'answer-too-long'
  | 'answer-malformed'
  | 'answer-untrusted'
  // login and session
  | 'login-declined'
  | 'login-expired'
  | 'state-mismatch'
  | 'oauth-refused'
  | 'session-missing'
  | 'session-ended'
  // certificates
  | 'certificate-untrusted'
  // the server's own word, in `problem`
  | 'refused';

/** The part of a problem document that a caller can act on. */
export type ServerProblem = Pick<Problem, 'code' | 'detail' | 'id' | 'denial'>;

export class ClientError extends Error {
  override readonly name = 'ClientError';
  readonly code: ClientErrorCode;
  readonly kind: ProblemKind;
  /** What the server said; only with `refused` and `oauth-refused`. */
  readonly problem?: ServerProblem;

  constructor(
    code: ClientErrorCode,
    kind: ProblemKind,
    message: string,
    options: ErrorOptions & { readonly problem?: ServerProblem } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.kind = kind;
    if (options.problem !== undefined) this.problem = options.problem;
  }
}
