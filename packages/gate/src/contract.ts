/**
 * What this host is willing to do, as a person reads it (`beacon gate check`) and as programs do (`beacon gate list`):
 * the allowlist with its places filled in and its defaults shown, and its digest.
 */
import type { AllowedCommand, Allowlist, RunAs } from '@beacon/protocol/allowlist';
import type { Json } from '@beacon/protocol/strict-json';

/** The contract as JSON. */
export function contractOf(allowlist: Allowlist): { readonly [key: string]: Json } {
  return {
    v: 1,
    digest: allowlist.digest,
    commands: Object.fromEntries(
      [...allowlist.commands.values()].map((command) => [command.name, spell(command)]),
    ),
  };
}

/** The contract in words, a paragraph a command. */
export function describeContract(allowlist: Allowlist): string {
  const paragraphs = [...allowlist.commands.values()].map(describe);
  return [...paragraphs, `${allowlist.commands.size} commands, digest ${allowlist.digest}\n`].join('\n');
}

function spell(command: AllowedCommand): Json {
  return {
    summary: command.summary,
    argv: command.argv.map((argument) =>
      typeof argument === 'string'
        ? argument
        : 'text' in argument
          ? argument.text
          : `{${argument.parameter}}`,
    ),
    params: Object.fromEntries(
      [...command.parameters].map(([name, { pattern, isSecret }]) => [
        name,
        { pattern: pattern.source, ...(isSecret ? { secret: true } : {}) },
      ]),
    ),
    run_as: 'pool' in command.runAs ? { pool: command.runAs.pool } : command.runAs.account,
    timeout_seconds: command.timeoutSeconds,
    max_output_bytes: command.maxOutputBytes,
    max_tasks: command.maxTasks,
    max_memory_bytes: command.maxMemoryBytes,
    ...(command.exclusive === undefined ? {} : { exclusive: command.exclusive }),
    ...(command.undo === undefined ? {} : { undo: command.undo }),
    ...(command.release === undefined ? {} : { release: command.release }),
  };
}

function describe(command: AllowedCommand): string {
  const words = command.argv.map((argument) =>
    typeof argument === 'string'
      ? argument
      : 'text' in argument
        ? quote(argument.text)
        : `{${argument.parameter}}`,
  );
  const parameters = [...command.parameters].map(([name, { pattern, isSecret }]) =>
    isSecret ? `  ${name}, secret, on standard input: ${pattern.source}` : `  ${name}: ${pattern.source}`,
  );
  const more = [
    command.exclusive === undefined ? [] : [`once at a time for each ${command.exclusive}`],
    command.undo === undefined ? [] : [`taken back by ${command.undo}`],
    command.release === undefined ? [] : [`its account is free again after ${command.release}`],
  ].flat();
  return [
    `${command.name}: ${command.summary}`,
    `  runs ${words.join(' ')}`,
    `  as ${describeRunAs(command.runAs)}, at most ${command.timeoutSeconds} s, ${command.maxTasks} processes, ${command.maxMemoryBytes} bytes of memory, ${command.maxOutputBytes} bytes of output`,
    ...parameters,
    ...more.map((line) => `  ${line}`),
    '',
  ].join('\n');
}

function describeRunAs(runAs: RunAs): string {
  return 'pool' in runAs ? `one of the accounts ${runAs.pool}-<number>` : runAs.account;
}

function quote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : JSON.stringify(text);
}
