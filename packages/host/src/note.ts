/** Reading the host's note of what was wished for it. */
import { readIfThere } from './durable-file.ts';
import type { Machine } from './machine.ts';
import { NOTE, type Note, parseNote } from './wish.ts';

/** Undefined on a machine that is no managed host. Throws HostError `state-damaged`. */
export function readNote(machine: Machine): Note | undefined {
  const bytes = readIfThere(machine.at(NOTE));
  return bytes === undefined ? undefined : parseNote(bytes);
}
