/** What the tests of this package ask of a refusal: that it is a ProtocolError, and with which code. */
import { ProtocolError, type ProtocolErrorCode } from '@beacon/protocol';

/** The code that `call` is refused with; `'accepted'` when it returns. An error of another class is thrown on. */
export function refusalOf(call: () => unknown): ProtocolErrorCode | 'accepted' {
  try {
    call();
  } catch (error) {
    if (error instanceof ProtocolError) return error.code;
    throw error;
  }
  return 'accepted';
}
