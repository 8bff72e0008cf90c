/**
 * The records once more, in the machine's own log, from where most machines send them elsewhere. The `logger` program
 * takes them on its standard input, for node speaks no datagrams over a Unix socket. What fails here stops nothing: the
 * chain is what counts.
 */
import { type ChildProcess, spawn } from 'node:child_process';

const LOGGER = '/usr/bin/logger';

export interface Syslog {
  readonly write: (line: string) => void;
  readonly close: () => void;
}

/** Starts `logger` when there is a first line and nothing more urgent: a caller waits for `hello`. */
export function openSyslog(): Syslog {
  let child: ChildProcess | undefined;
  let waiting: string[] = [];
  const open = (): ChildProcess => {
    const started = spawn(LOGGER, ['-t', 'beacon-gate', '-p', 'authpriv.info', '--size', '16384'], {
      stdio: ['pipe', 'ignore', 'ignore'],
      env: {},
    });
    started.on('error', () => undefined);
    started.stdin?.on('error', () => undefined);
    started.unref();
    return started;
  };
  const pass = (): void => {
    if (waiting.length === 0) return;
    child ??= open();
    child.stdin?.write(waiting.join(''));
    waiting = [];
  };
  return {
    write: (line) => {
      if (waiting.push(`${line}\n`) === 1) setImmediate(pass);
    },
    close: () => {
      pass();
      child?.stdin?.end();
    },
  };
}
