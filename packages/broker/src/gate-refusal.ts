/** What a gate says when it does not take a session, in words for the person who asked for the run. */
import { plainText } from '@beacon/client';
import { BrokerError } from './error.ts';

const CLOCK = new Set(['clock-went-back', 'certificate-expired', 'certificate-not-yet-valid', 'grant-ended']);
const STALE = new Set(['stale-trust', 'trust-refused', 'trust-went-back']);
const MAX_REASON = 300;

/** `host` is the host's id; `code` and `reason` are the gate's. */
export function explainRefusal(host: string, code: string, reason: string): BrokerError {
  const said = plainText(reason, MAX_REASON);
  const options = { reason: plainText(code, MAX_REASON) };
  if (code === 'too-many-gates') {
    return new BrokerError(
      'gate-busy',
      `all gates of ${host} are in use: try again when one of its runs has ended`,
      options,
    );
  }
  if (CLOCK.has(code)) {
    return new BrokerError(
      'clock-skew',
      `${host} refused the session (${said}): its clock and the CA's differ; its operator sets it right, then try again`,
      options,
    );
  }
  if (STALE.has(code)) {
    return new BrokerError(
      'gate-refused',
      `${host} refuses everything, because it does not trust its trust documents now (${said}): its operator runs beacon host check there`,
      options,
    );
  }
  if (code === 'certificate-revoked') {
    return new BrokerError(
      'gate-refused',
      `${host} refused the session, because its certificate was revoked: log in again, and ask an administrator if it stays so`,
      options,
    );
  }
  return new BrokerError(
    'gate-refused',
    `${host} refused the session (${said}): its operator runs beacon host check there`,
    options,
  );
}
