/**
 * One command from start to end: its unit, its streams, how it ended and why. Whether it may run was decided before, and
 * was written down before; nothing is recorded here.
 */
import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ending } from '@beacon/protocol/gate-event';
import type { Account } from './account.ts';
import { findAccount } from './account.ts';
import type { EventOutput } from './event-output.ts';
import { commandEnvironment, type Ended, unitName } from './execution.ts';
import type { Gate } from './gate.ts';
import type { FilledCommand } from './plan.ts';

export interface CommandFacts {
  readonly person: string;
  readonly service: string;
  readonly grant: string;
}

export interface CommandEnd {
  readonly code: number | null;
  readonly signal: string | null;
  readonly why: Ending;
  readonly durationMs: number;
  readonly outputBytes: number;
}

/** What a command needs of the machine before it may start. */
export interface Prepared {
  readonly unit: string;
  readonly account: Account;
  /** Gives the unit's name back. */
  readonly release: () => void;
}

/** How long a client may leave the last output unread before it counts as gone. */
const UNREAD_MS = 60_000;

/** Binds the account and takes the unit's name. Throws GateError `account-missing`, `pool-empty` or `busy`. */
export function prepare(gate: Gate, filled: FilledCommand, otherwise: string): Prepared {
  const { command, exclusiveValue } = filled;
  const unit = unitName(command.name, exclusiveValue, otherwise);
  const release = gate.held.takeUnit(unit);
  try {
    return { unit, account: accountOf(gate, filled), release };
  } catch (error) {
    release();
    throw error;
  }
}

/** Frees the pool's account where the allowlist says that this command does. */
export function freeAccount(gate: Gate, { command, exclusiveValue }: FilledCommand): void {
  if (!('pool' in command.runAs) || exclusiveValue === undefined) return;
  const isRelease = [...gate.readAllowlist().commands.values()].some(
    ({ release, runAs }) =>
      release === command.name &&
      'pool' in runAs &&
      'pool' in command.runAs &&
      runAs.pool === command.runAs.pool,
  );
  if (isRelease) gate.pools.release(command.runAs.pool, exclusiveValue);
}

/**
 * Runs a prepared command. `watchOver` is told how to interrupt, and its result is called when there is nothing left to
 * interrupt. A unit that cannot start ends as `unavailable`.
 */
export async function runCommand(
  gate: Gate,
  filled: FilledCommand,
  { unit, account, release }: Prepared,
  facts: CommandFacts,
  output: { readonly to: EventOutput; readonly id: number } | undefined,
  watchOver: (interrupt: (why: Ending) => void) => () => void,
): Promise<CommandEnd> {
  const { command, argv, stdin } = filled;
  const begin = performance.now();
  let interruption: Ending | undefined;
  let bytes = (): number => 0;
  let ended: Ended | undefined;
  try {
    const running = gate.execution.start({
      unit,
      description: `beacon ${command.name} of grant ${facts.grant}`,
      argv,
      account,
      environment: commandEnvironment(account.home, {
        BEACON_HOST: gate.identity.host,
        BEACON_PERSON: facts.person,
        BEACON_SERVICE: facts.service,
        BEACON_GRANT: facts.grant,
        BEACON_COMMAND: command.name,
      }),
      stdin,
      timeoutSeconds: command.timeoutSeconds,
      maxTasks: command.maxTasks,
      maxMemoryBytes: command.maxMemoryBytes,
    });
    const read = [running.stdout, running.stderr].map((stream) => finished(stream).catch(() => undefined));
    if (output === undefined) for (const stream of [running.stdout, running.stderr]) stream.resume();
    else bytes = output.to.pipe(output.id, running, command.maxOutputBytes);
    const unwatch = watchOver((why) => {
      interruption ??= why;
      running.stop();
    });
    try {
      ended = await running.ended;
    } finally {
      unwatch();
    }
    await Promise.race([
      Promise.all(read),
      sleep(interruption === 'lost' ? 0 : UNREAD_MS, undefined, { ref: false }),
    ]);
    for (const stream of [running.stdout, running.stderr]) stream.destroy();
  } catch {
    interruption ??= 'unavailable';
  } finally {
    release();
  }
  return {
    code: ended?.code ?? null,
    signal: ended?.signal ?? null,
    why: interruption ?? ended?.limit ?? 'ended',
    durationMs: Math.round(performance.now() - begin),
    outputBytes: bytes(),
  };
}

/** Whether a command did what it was there for. */
export function isSuccess({ why, code }: CommandEnd): boolean {
  return why === 'ended' && code === 0;
}

function accountOf(gate: Gate, { command, exclusiveValue }: FilledCommand): Account {
  const { runAs } = command;
  // The allowlist's reader has made sure that a command of a pool has a value to bind to.
  if ('pool' in runAs) return gate.pools.bind(runAs.pool, exclusiveValue ?? '');
  return findAccount(gate.places.passwd, runAs.account);
}
