/**
 * The command's one way in and out: reads argv, calls one command, and maps what went wrong to an exit status (DESIGN.md
 * section 9). Nothing else in this package ends the process. `beacon ssh` and what shows a run answer 255 for every failure
 * of their own, as ssh does, so that the remote command's status stays its own.
 */
import { homedir } from 'node:os';
import { ClientError, plainText } from '@beacon/client';
import { type ProblemKind, ProtocolError, problemKinds } from '@beacon/protocol';
import { SshError } from '@beacon/ssh/error';
import { CommanderError } from 'commander';
import type { Context } from './context.ts';
import { formatMissing } from './missing.ts';
import { findPlace } from './place.ts';
import { createProgram } from './program.ts';
import { systemFailure } from './system-failure.ts';
import { createTerminal, type Terminal } from './terminal.ts';
import { VERSION } from './version.ts';

const STATUS: Readonly<Record<ProblemKind, number>> = {
  invalid: 64,
  unauthenticated: 77,
  denied: 77,
  'not-found': 66,
  conflict: 75,
  limited: 75,
  unavailable: 69,
  internal: 70,
};
const OWN_FAILURE = 255;

async function main(argv: readonly string[]): Promise<number> {
  const terminal = createTerminal(process);
  const context: Context = {
    terminal,
    place: findPlace(process.env, homedir()),
    environment: process.env,
    now: () => new Date(),
  };
  let status = 0;
  const program = createProgram(context, VERSION, (result) => {
    status = result;
  });
  for (const command of [program, ...descendants(program)]) command.exitOverride().helpCommand(false);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return status;
  } catch (error) {
    const failed = failure(error, terminal);
    return hasRemoteStatus(argv) && failed !== 0 ? OWN_FAILURE : failed;
  }
}

/** Whether the status is that of something on a host. */
function hasRemoteStatus([first, second]: readonly string[]): boolean {
  return first === 'ssh' || first === 'run' || (first === 'runs' && second === 'watch');
}

/** Says what went wrong, and what to do, and returns the exit status for it. */
function failure(error: unknown, terminal: Terminal): number {
  // Commander has printed its own refusals, and help and version are none.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : STATUS.invalid;
  if (error instanceof ClientError) {
    terminal.talk(`beacon: ${error.message}`);
    for (const line of remedy(error)) terminal.talk(line);
    return STATUS[error.kind];
  }
  if (error instanceof SshError || error instanceof ProtocolError) {
    terminal.talk(`beacon: ${error.message}`);
    return STATUS.invalid;
  }
  const kind = kindOf(error);
  if (error instanceof Error && kind !== undefined) {
    for (const [at, line] of error.message.trimEnd().split('\n').entries()) {
      terminal.talk(at === 0 ? `beacon: ${line}` : line);
    }
    return STATUS[kind];
  }
  const system = systemFailure(error);
  if (system !== undefined) {
    terminal.talk(`beacon: ${system}`);
    return STATUS.unavailable;
  }
  const said = error instanceof Error ? (error.stack ?? error.message) : String(error);
  for (const line of `beacon: internal error, please report it: ${said}`.split('\n')) terminal.talk(line);
  return STATUS.internal;
}

/** Errors of this package and of those that are loaded when needed say their kind themselves. */
function kindOf(error: unknown): ProblemKind | undefined {
  if (typeof error !== 'object' || error === null || !('kind' in error)) return undefined;
  return problemKinds.find((kind) => kind === error.kind);
}

/** What the person can do about it. */
function remedy(error: ClientError): readonly string[] {
  if (error.code === 'session-missing' || error.code === 'session-ended')
    return ['Log in with: beacon login'];
  if (error.problem === undefined) return [];
  const { code, id, denial } = error.problem;
  const lines = missing(denial?.['missing']);
  return id === ''
    ? lines
    : [...lines, `(${plainText(code, 80)}; the server's log has it under ${plainText(id, 80)})`];
}

function missing(list: unknown): string[] {
  if (!Array.isArray(list)) return [];
  return list
    .filter((one) => typeof one === 'object' && one !== null)
    .slice(0, 20)
    .map((one) => `missing: ${plainText(formatMissing(one), 300)}`);
}

function descendants(command: ReturnType<typeof createProgram>): ReturnType<typeof createProgram>[] {
  return command.commands.flatMap((child) => [child, ...descendants(child)]);
}

// Whoever reads our output may stop reading, as `head` does: that is no failure, but there is nothing left to do.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});
process.exitCode = await main(process.argv.slice(2));
