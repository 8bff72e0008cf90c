/**
 * What may interrupt something that runs: the certificate is revoked or no longer trusted, the client cancels or is
 * gone. The trust documents are looked at every five seconds, and within one when their files have changed.
 */
import type { Ending } from '@beacon/protocol/gate-event';
import { type GateRequest, parseGateRequest } from '@beacon/protocol/gate-request';
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
  let hasSaidEnd = false;
  const deafen = input.listen((heard) => {
    if (heard.kind === 'line') {
      const kind = kindOf(heard.line);
      if (kind === 'cancel') once('cancelled');
      hasSaidEnd ||= kind === 'end';
    } else if (!hasSaidEnd) {
      // Who has said that the run is complete may close its side, as a script does that writes all its lines at once.
      once('lost');
    }
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

function kindOf(line: string): GateRequest['kind'] | undefined {
  // Requests for commands wait unread: they may be long, and are refused in their turn where they are malformed.
  if (!line.includes('"cancel"') && !line.includes('"end"')) return undefined;
  try {
    return parseGateRequest(line).kind;
  } catch {
    return undefined;
  }
}
