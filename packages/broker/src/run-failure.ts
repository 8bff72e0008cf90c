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
      reason: reasonOf(error),
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

/** Only the CA is asked by what throws a ClientError here. */
function reasonOf(error: BrokerError | ClientError): string {
  const { message } = error;
  if (error instanceof BrokerError) return message;
  if (error.code === 'unreachable' || error.code === 'timed-out')
    return `the certificate authority does not answer (${message}): try again soon`;
  return error.problem?.code === 'policy-denied' ? deniedText(message) : message;
}

/** Why policy says no, with what to do. */
export function deniedText(reason: string): string {
  return `${reason} If you should be allowed to, ask an administrator of the certificate authority; \`beacon hosts HOST\` shows what would be needed.`;
}

/** How a command ended that has not succeeded. */
export function badEnding(
  command: string,
  { code, signal, why }: ExitStatus & { readonly why: Ending },
): string {
  switch (why) {
    case 'timeout':
      return `${command} took longer than the host allows and was stopped: look at its output and try again; how long it may take stands in the host's allowlist`;
    case 'memory':
      return `${command} used more memory than the host allows and was stopped: how much it may use stands in the host's allowlist`;
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
