/**
 * How a command is run, whatever the machine offers: as one named unit whose every process can be ended by that name,
 * after a crash of the gate too. Two units of one name never run at once. Three ways: `transient-unit.ts` with systemd,
 * `control-group.ts` without, and `rootless-process.ts` for demos.
 */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { ExitStatus } from '@beacon/protocol/gate-event';
import type { Account } from './account.ts';

export interface Launch {
  /** The unit's name, which is also its lock: see `unitName`. */
  readonly unit: string;
  /** For the machine's own lists. */
  readonly description: string;
  readonly argv: readonly [string, ...string[]];
  readonly account: Account;
  /** The whole environment of the command. */
  readonly environment: Readonly<Record<string, string>>;
  readonly stdin: string;
  readonly timeoutSeconds: number;
  readonly maxTasks: number;
  readonly maxMemoryBytes: number;
}

export interface Running {
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** When every process of the unit has ended. Rejects with GateError `cannot-start` or `busy`. */
  readonly ended: Promise<Ended>;
  /** Ends every process of the unit: asks first, and insists after two seconds. */
  readonly stop: () => void;
}

export interface Ended extends ExitStatus {
  /** Which limit of the unit was met. */
  readonly limit?: 'timeout' | 'memory';
}

export interface Execution {
  /** Throws GateError `busy` where a unit of this name runs. */
  readonly start: (launch: Launch) => Running;
  /** Ends a unit that another process started, and forgets it; returns when nothing of it runs any more. */
  readonly stopUnit: (unit: string) => Promise<void>;
}

/** How long a unit has to end by itself when it is asked to. */
export const STOP_GRACE_SECONDS = 2;

const PLAIN = /^[A-Za-z0-9_.-]{1,100}$/;

/**
 * `beacon-<command>-<value>`, where the value says what may be in work once at a time; a value that no unit's name can
 * hold stands there as a digest behind a colon, which no plain value has.
 */
export function unitName(command: string, exclusiveValue: string | undefined, otherwise: string): string {
  const value = exclusiveValue ?? `:${otherwise}`;
  if (exclusiveValue === undefined || PLAIN.test(value)) return `beacon-${command}-${value}`;
  return `beacon-${command}-:${createHash('sha256').update(value).digest('hex').slice(0, 32)}`;
}

/** The environment of a command, built from nothing. */
export function commandEnvironment(
  home: string,
  facts: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  return { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: home, LANG: 'C.UTF-8', ...facts };
}

/** The program that begins with exactly this environment, whatever surrounds it, and becomes the command. */
export function withEnvironment({ environment, argv }: Launch): string[] {
  const pairs = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  return ['/usr/bin/env', '-i', '--', ...pairs, ...argv];
}
