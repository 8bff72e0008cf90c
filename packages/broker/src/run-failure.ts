/** What a failure means for a run, in words for the person: a denial, or somebody who did not do what was asked. */
import { ClientError } from '@beacon/client';
import { ProtocolError } from '@beacon/protocol';
import type { Ending, ExitStatus } from '@beacon/protocol/gate-event';
import { BrokerError } from './error.ts';

export interface RunFailure {
  readonly kind: 'denied' | 'unavailable';
  readonly reason: string;
  /** Not one that anybody foresaw: the log has to hold it. */
  readonly isDefect: boolean;
}

export function runFailure(error: unknown): RunFailure {
  if (error instanceof BrokerError || error instanceof ClientError) {
    const isDenied = error.kind === 'denied';
    return {
      kind: isDenied ? 'denied' : 'unavailable',
      reason: error.message,
      isDefect: error.kind === 'internal',
    };
  }
  if (error instanceof ProtocolError) {
    return { kind: 'unavailable', reason: `it cannot be asked for: ${error.message}`, isDefect: false };
  }
  return {
    kind: 'unavailable',
    reason: 'something failed in the broker itself: tell its administrator the id of this run',
    isDefect: true,
  };
}

/** How a command ended that has not succeeded. */
export function badEnding(
  command: string,
  { code, signal, why }: ExitStatus & { readonly why: Ending },
): string {
  switch (why) {
    case 'timeout':
      return `${command} took longer than the host allows and was stopped`;
    case 'memory':
      return `${command} used more memory than the host allows and was stopped`;
    case 'revoked':
      return `${command} was stopped: what permitted it was revoked`;
    case 'cancelled':
      return `${command} was cancelled`;
    case 'unavailable':
      return `${command} could not be run on the host: its log says why`;
    default:
      return signal === null
        ? `${command} ended with status ${code ?? 'unknown'}: its output says why`
        : `${command} was ended by ${signal}`;
  }
}
