/**
 * The text of one policy file and the places in it: cuts the file into its policies (Cedar ends each with ";", which
 * stands nowhere else outside strings and comments) and turns Cedar's byte offsets into line and column.
 */
import { Buffer } from 'node:buffer';
import type { Place } from './error.ts';

/** One policy as it stands in its file; `start` counts UTF-16 units. */
export interface PolicyText {
  readonly text: string;
  readonly start: number;
}

/** Cuts a text that Cedar has accepted into its policies, in their order. */
export function splitPolicies(text: string): PolicyText[] {
  const policies: PolicyText[] = [];
  const token = /"(?:[^"\\]|\\[\s\S])*"|\/\/[^\n]*|\s+|;|[^\s";/]+|\/(?!\/)/g;
  let start: number | null = null;
  for (const match of text.matchAll(token)) {
    const isTalk = match[0].startsWith('//') || match[0].trim() === '';
    if (start === null && !isTalk) start = match.index;
    if (match[0] === ';' && start !== null) {
      policies.push({ text: text.slice(start, match.index + 1), start });
      start = null;
    }
  }
  return policies;
}

/** Line and column (from 1, in characters as people count them) of a position in UTF-16 units. */
export function placeAt(file: string, text: string, position: number): Place {
  const before = text.slice(0, position).split('\n');
  return { file, line: before.length, column: [...(before.at(-1) ?? '')].length + 1 };
}

/** The position in UTF-16 units of a byte offset in the text's UTF-8 form, as Cedar counts. */
export function positionOfByte(text: string, byte: number): number {
  return Buffer.from(text, 'utf8').subarray(0, byte).toString('utf8').length;
}
