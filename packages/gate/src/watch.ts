/**
 * What may interrupt something that runs: the certificate is revoked or no longer trusted, the client cancels or is
 * gone. The trust documents are looked at every five seconds, and within one when their files have changed.
 */
import type { Ending } from '@beacon/protocol/gate-event';
import { parseGateRequest } from '@beacon/protocol/gate-request';
import { type Admission, requireTrusted } from './admit.ts';
import { refusalOf } from './error.ts';
import type { EventOutput } from './event-output.ts';
import type { Gate } from './gate.ts';
import type { LineInput } from './line-input.ts';

const GLANCE_MS = 1_000;
const LOOK_EVERY_GLANCES = 5;

/** Calls `interrupt` at most once; stops looking when the result is called. */
export function watch(
  gate: Gate,
  admission: Admission,
  input: LineInput,
  output: EventOutput,
  interrupt: (why: Ending) => void,
): () => void {
  let isDone = false;
  const once = (why: Ending): void => {
    if (isDone) return;
    isDone = true;
    interrupt(why);
  };
  let glances = 0;
  let seen = gate.trust.fingerprint();
  const timer = setInterval(() => {
    const now = gate.trust.fingerprint();
    if (++glances % LOOK_EVERY_GLANCES !== 0 && now === seen) return;
    seen = now;
    const why = whyNot(gate, admission);
    if (why !== undefined) once(why);
  }, GLANCE_MS);
  const deafen = input.listen((heard) => {
    if (heard.kind === 'closed') once('lost');
    if (heard.kind === 'line' && isCancel(heard.line)) once('cancelled');
  });
  output.whenLost(() => once('lost'));
  return () => {
    isDone = true;
    clearInterval(timer);
    deafen();
  };
}

/** Why a certificate that was admitted would be refused now; what started before the grant's end may run on past it. */
export function whyNot(gate: Gate, { certificate, until }: Admission): 'revoked' | 'unavailable' | undefined {
  const now = gate.now();
  try {
    requireTrusted(certificate, gate, now < until ? now : new Date(until.getTime() - 1));
    return undefined;
  } catch (error) {
    return refusalOf(error).code === 'certificate-revoked' ? 'revoked' : 'unavailable';
  }
}

function isCancel(line: string): boolean {
  if (!line.includes('"cancel"')) return false;
  try {
    return parseGateRequest(line).kind === 'cancel';
  } catch {
    return false;
  }
}
