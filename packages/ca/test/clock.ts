/** oidc-provider reads `Date` itself, so tests that need another time move `Date` alone; timers and sockets go on as they are. */
import { jest } from '@jest/globals';

export function setTime(at: number): void {
  jest.useFakeTimers({
    now: at,
    doNotFake: [
      'clearImmediate',
      'clearInterval',
      'clearTimeout',
      'hrtime',
      'nextTick',
      'performance',
      'queueMicrotask',
      'setImmediate',
      'setInterval',
      'setTimeout',
    ],
  });
}

export function passTime(ms: number): void {
  setTime(Date.now() + ms);
}
