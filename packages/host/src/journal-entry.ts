/** One line of the journal: what was at a path before it was changed, or where a set-up ended. Strict. */
import { parseStrictJson } from '@beacon/protocol/strict-json';
import { ValueReader } from '@beacon/protocol/value-reader';
import { HostError } from './error.ts';

export const JOURNAL_FOLDER = '/var/lib/beacon-host';
export const JOURNAL = `${JOURNAL_FOLDER}/journal`;

export type Entry =
  | { readonly was: 'absent' | 'account'; readonly path: string }
  | {
      readonly was: 'folder';
      readonly path: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      /** `accounts` are the system's own files of accounts. */
      readonly was: 'file' | 'accounts';
      readonly path: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      readonly copy: string;
    }
  | { readonly was: 'link'; readonly path: string; readonly target: string };

export type JournalLine = Entry | { readonly was: 'complete' | 'restored'; readonly path: '' };

export function isEntry(line: JournalLine): line is Entry {
  return line.was !== 'complete' && line.was !== 'restored';
}

/** Throws HostError `state-damaged`. */
export function parseLine(text: string): JournalLine {
  try {
    const top = new ValueReader('host-identity-malformed', 'journal', parseStrictJson(text));
    const read = top.members(['was', 'path'], ['mode', 'uid', 'gid', 'copy', 'target']);
    const was = read.was.text(16);
    if (was === 'complete' || was === 'restored') return { was, path: '' };
    const path = read.path.text(4_096);
    const number = (reader: ValueReader | undefined): number => (reader ?? top).integer(0, 2 ** 32);
    if (was === 'absent' || was === 'account') return { was, path };
    if (was === 'link') return { was, path, target: (read.target ?? top).text(4_096) };
    const owner = { mode: number(read.mode), uid: number(read.uid), gid: number(read.gid) };
    if (was === 'folder') return { was, path, ...owner };
    if (was === 'file' || was === 'accounts')
      return { was, path, ...owner, copy: (read.copy ?? top).text(16) };
    throw read.was.refusal('it is unknown');
  } catch (error) {
    throw new HostError('state-damaged', `${JOURNAL} is damaged: put it right by hand, see docs/host.md`, {
      cause: error,
    });
  }
}
