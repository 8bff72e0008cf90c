/**
 * The command's own refusals: what was typed, what lies in the person's files, and what this machine cannot do. The kind
 * is one of the eight of DESIGN.md section 9 and becomes the exit status in `main.ts`, nowhere else.
 */
import type { ProblemKind } from '@beacon/protocol';

export type CliErrorCode =
  | 'usage'
  | 'not-supported-here'
  | 'no-terminal'
  | 'file-missing'
  | 'file-unreadable'
  | 'file-unsafe'
  | 'file-malformed'
  | 'configuration'
  | 'locked'
  | 'login-not-chosen'
  | 'ssh-missing'
  | 'broker-unknown'
  | 'grant-unknown'
  | 'run-interrupted'
  | 'stopped'
  | 'records-broken'
  | 'answer-malformed';

export class CliError extends Error {
  override readonly name = 'CliError';
  readonly code: CliErrorCode;
  readonly kind: ProblemKind;

  constructor(code: CliErrorCode, kind: ProblemKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.kind = kind;
  }
}

/** Something typed wrongly; ends in what to type. */
export function usageError(message: string): CliError {
  return new CliError('usage', 'invalid', message);
}
