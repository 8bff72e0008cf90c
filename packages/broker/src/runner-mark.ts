/**
 * The label by which a run knows a runner for the one that it has registered. A name can be taken by somebody else between
 * a look at GitHub and the registration, and the label that all of ours have can be given to any runner; this one cannot be
 * guessed, and nobody but CA and host hears of it before the runner is there. Runs that retry one another share it, so
 * that one may remove what another has left.
 */
import type { PlannedStep } from './run-order.ts';

const PREFIX = 'beacon-run-';
const LETTERS = '0123456789abcdefghjkmnpqrstvwxyz';
const LENGTH = 16;

/** So many random letters, five bits each, as names of runners and labels may have. */
export function randomLetters(count: number, random: (length: number) => Buffer): string {
  return [...random(count)].map((byte) => LETTERS[byte & 31]).join('');
}

/** 80 random bits. */
export function newMark(random: (length: number) => Buffer): string {
  return `${PREFIX}${randomLetters(LENGTH, random)}`;
}

export function isMark(label: string): boolean {
  return label.toLowerCase().startsWith(PREFIX);
}

/** The mark with which a run registers; undefined where the host's command takes no labels. */
export function markOf(steps: readonly Pick<PlannedStep, 'preparation' | 'params'>[]): string | undefined {
  const labels = steps.find(({ preparation }) => preparation === 'register')?.params['labels'];
  return labels?.split(',').findLast(isMark);
}
