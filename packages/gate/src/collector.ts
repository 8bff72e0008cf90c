/**
 * Gives memory back while bytes stream through. Chunks of a stream lie outside of the heap that the runtime watches: it
 * lets a hundred megabytes of them gather before it cleans. Its collector can be called only under a flag, which is set
 * when it is first wanted: set from the start, it would make the runtime refuse its own compiled parts, and start slowly.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const AFTER_BYTES = 1_048_576;

/** What was in use while it cleaned counts as old, and is given back by a whole cleaning alone. */
const WHOLE_EVERY = 16;

type Collect = (options: { readonly type: 'minor' | 'major' }) => void;

let collect: Collect | undefined;

/** Is told how many bytes have come, and cleans each time that they are many. */
export function createCollector(): (bytes: number) => void {
  let sum = 0;
  let times = 0;
  return (bytes) => {
    sum += bytes;
    if (sum < AFTER_BYTES) return;
    sum = 0;
    collect ??= findCollector();
    collect({ type: ++times % WHOLE_EVERY === 0 ? 'major' : 'minor' });
  };
}

function findCollector(): Collect {
  setFlagsFromString('--expose-gc');
  const found: unknown = runInNewContext('gc');
  return typeof found === 'function' ? (found as Collect) : () => undefined;
}
