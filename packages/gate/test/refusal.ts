/** What the tests of this package ask of a refusal: with which code, whichever package's rule it was. */
import { refusalOf } from '../src/error.ts';

/** The code that `call` is refused with; `accepted` when it returns. */
export function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    const { code } = refusalOf(error);
    if (code === 'internal') throw error;
    return code;
  }
  return 'accepted';
}
