/**
 * A small process that outlives its gate: it waits on a pipe, and where the gate closes the pipe without a word, because
 * it was killed or has crashed, becomes `gate recover`. So what a dead gate left running is stopped and taken back at
 * once, without anybody having to connect again.
 */
import { spawn } from 'node:child_process';

const WAIT = 'read -r word; [ "$word" = done ] || exec "$@"';

/** Leaves the guard behind; the result sends it away. `recover` is the program and arguments that settle. */
export function leaveGuard(recover: readonly string[]): () => void {
  const child = spawn('/bin/sh', ['-c', WAIT, 'sh', ...recover], {
    // A session of its own, so that nothing which ends the gate's ends it too.
    detached: true,
    cwd: '/',
    env: {},
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  child.on('error', () => undefined);
  child.stdin.on('error', () => undefined);
  child.unref();
  return () => {
    child.stdin.end('done\n');
  };
}
