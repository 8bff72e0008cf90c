/** Reading GitHub's answers: the few fields that count, by hand and strictly; fields that we do not use are let be. */
import { GitHubError } from './error.ts';

export type Fields = Readonly<Record<string, unknown>>;

const LOGIN = /^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/;

export function readFields(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(what, 'an object');
  return value as Fields;
}

export function readList(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw malformed(what, 'a list');
  return value;
}

/** A numeric id as decimal text; a text, a fraction, zero and less are refused. */
export function readId(value: unknown, what: string): string {
  const whole = typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value));
  if (!whole || value <= 0 || String(value).length > 19) throw malformed(what, 'a numeric id');
  return String(value);
}

export function readLogin(value: unknown, what: string): string {
  if (!isLogin(value)) throw malformed(what, 'a login');
  return value;
}

export function isLogin(value: unknown): value is string {
  return typeof value === 'string' && LOGIN.test(value);
}

/** One of a closed set of words. */
export function readWord<Word extends string>(value: unknown, words: readonly Word[], what: string): Word {
  const found = words.find((word) => word === value);
  if (found === undefined) throw malformed(what, `one of ${words.join(', ')}`);
  return found;
}

export function malformed(what: string, form: string): GitHubError {
  return new GitHubError(
    'malformed',
    `In GitHub's answer, ${what} is not ${form}. Check that the API address is GitHub's, and its version.`,
  );
}
