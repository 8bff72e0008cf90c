/**
 * The runner commands in the operator's allowlist. What is missing is added, and what an earlier version of Beacon has
 * added and nobody changed since becomes as it ships now; everything else stays as the operator wrote it.
 */
import { isDeepStrictEqual } from 'node:util';
import { ProtocolError } from '@beacon/protocol/error';
import { type Json, parseStrictJsonBytes } from '@beacon/protocol/strict-json';
import { HostError } from './error.ts';
import { type Finding, note } from './finding.ts';

export interface RunnerEntries {
  /** What ships, with this host's addresses. */
  readonly shipped: Buffer;
  /** What shipped when this host was laid out the last time; undefined where it had none. */
  readonly before: Buffer | undefined;
}

type Members = { [key: string]: Json };
const PARTS = ['places', 'commands'] as const;

export interface Merged {
  readonly content: Buffer;
  /** `commands.runner.start`, and so on: what was added or renewed. */
  readonly changed: readonly string[];
}

/**
 * The list with the entries. Throws HostError `cannot-work-here` where the list is no list, or has a place of the same
 * name elsewhere.
 */
export function mergeEntries(present: Buffer, { shipped, before }: RunnerEntries): Merged {
  const list = readMembers(present);
  const wanted = readMembers(shipped);
  const former = before === undefined ? {} : readMembers(before);
  const changed: string[] = [];
  for (const part of PARTS) {
    const mine = membersOf(list[part]);
    for (const [name, value] of Object.entries(membersOf(wanted[part]))) {
      const there = mine[name];
      if (there !== undefined && isDeepStrictEqual(there, value)) continue;
      const isUntouched = there !== undefined && isDeepStrictEqual(there, membersOf(former[part])[name]);
      if (there !== undefined && !isUntouched) {
        if (part === 'places') {
          throw new HostError(
            'cannot-work-here',
            `the allowlist has a place ${name} of its own, ${JSON.stringify(there)}: rename that, for the runner commands need ${JSON.stringify(value)}`,
          );
        }
        continue;
      }
      mine[name] = value;
      changed.push(`${part}.${name}`);
    }
    list[part] = mine;
  }
  if (changed.length === 0) return { content: present, changed };
  const { version, places, commands, ...rest } = list;
  const ordered = { version: version ?? 1, places: places ?? {}, ...rest, commands: commands ?? {} };
  return { content: Buffer.from(`${JSON.stringify(ordered, undefined, 2)}\n`), changed };
}

/** The entries that the operator has written otherwise than they ship: worth knowing, and their right. */
export function changedEntries(path: string, present: Buffer, shipped: Buffer): Finding[] {
  const mine = membersOf(readMembers(present)['commands']);
  return Object.entries(membersOf(readMembers(shipped)['commands'])).flatMap(([name, value]) =>
    mine[name] === undefined || isDeepStrictEqual(mine[name], value)
      ? []
      : [
          note(
            'runner-entry',
            path,
            `${name} is otherwise than it ships`,
            'if that is not meant, take the entry out and run beacon host init again',
          ),
        ],
  );
}

function readMembers(bytes: Buffer): Members {
  try {
    const value = parseStrictJsonBytes(bytes);
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) return value;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new HostError('cannot-work-here', `the allowlist cannot be read: ${error.message}: put it right`, {
      cause: error,
    });
  }
  throw new HostError('cannot-work-here', 'the allowlist is no object: put it right');
}

function membersOf(value: Json | undefined): Members {
  return value !== undefined && value !== null && typeof value === 'object' && !Array.isArray(value)
    ? value
    : {};
}
