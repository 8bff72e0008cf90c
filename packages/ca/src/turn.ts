/** Long work in many parts, done so that the others who ask this process are not held up by all of it. */
import { setImmediate } from 'node:timers/promises';

/** How long they wait. */
const TURN_MS = 10;

/** Resolves at once while a turn lasts; when it is over, after the others have had theirs. Call it between two parts. */
export function createTurns(): () => Promise<void> {
  let ends = performance.now() + TURN_MS;
  return async () => {
    if (performance.now() < ends) return;
    await setImmediate();
    ends = performance.now() + TURN_MS;
  };
}
