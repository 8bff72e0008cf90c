/**
 * Reads what is used of a server's JSON answer, by name and by form, with a bound on every text; what is not used is
 * passed over, so that a server may say more than this client knows. Every refusal is ClientError `answer-malformed`.
 */
import type { Buffer } from 'node:buffer';
import { isName, type NameKind } from '@beacon/protocol/name';
import { type Json, parseStrictJsonBytes } from '@beacon/protocol/strict-json';
import { ClientError } from './error.ts';

const MAX_TEXT = 64 * 1024;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$/;
const SERIAL = /^[1-9][0-9]{0,19}$/;

/** One object of an answer. `place` names it in refusals. */
export class Answer {
  readonly #fields: { readonly [key: string]: Json };
  readonly #place: string;

  constructor(value: Json | undefined, place: string) {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) {
      throw malformed(`${place} is no object`);
    }
    this.#fields = value;
    this.#place = place;
  }

  /** The object that `body` is the JSON of. */
  static read(body: Buffer, place: string): Answer {
    let value: Json;
    try {
      value = parseStrictJsonBytes(body);
    } catch (error) {
      throw malformed(`${place} is no strict JSON`, error);
    }
    return new Answer(value, place);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#fields, name) && this.#fields[name] !== null;
  }

  /** Everything that the object says, as it came. */
  fields(): { readonly [key: string]: Json } {
    return this.#fields;
  }

  text(name: string, maxLength = MAX_TEXT): string {
    const value = this.#fields[name];
    if (typeof value !== 'string' || value.length > maxLength) throw this.#wrong(name, 'a text');
    return value;
  }

  optionalText(name: string, maxLength = MAX_TEXT): string | undefined {
    return this.has(name) ? this.text(name, maxLength) : undefined;
  }

  name(name: string, kind: NameKind): string {
    const value = this.text(name, 200);
    if (!isName(kind, value)) throw this.#wrong(name, `the name of a ${kind}`);
    return value;
  }

  /** A text of one form; `form` says it in words. */
  matching(name: string, pattern: RegExp, form: string): string {
    const value = this.text(name);
    if (!pattern.test(value)) throw this.#wrong(name, form);
    return value;
  }

  integer(name: string, least: number, most = Number.MAX_SAFE_INTEGER): number {
    const value = this.#fields[name];
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most) {
      throw this.#wrong(name, `a whole number from ${least} to ${most}`);
    }
    return value;
  }

  boolean(name: string): boolean {
    const value = this.#fields[name];
    if (typeof value !== 'boolean') throw this.#wrong(name, 'true or false');
    return value;
  }

  time(name: string): Date {
    const value = this.text(name, 30);
    const time = new Date(value);
    if (!TIME.test(value) || Number.isNaN(time.getTime())) throw this.#wrong(name, 'a time in UTC');
    return time;
  }

  serial(name: string): bigint {
    const value = this.text(name, 20);
    if (!SERIAL.test(value) || BigInt(value) >= 2n ** 64n) throw this.#wrong(name, 'a serial');
    return BigInt(value);
  }

  word<Word extends string>(name: string, words: readonly Word[]): Word {
    const value = this.#fields[name];
    const found = words.find((word) => word === value);
    if (found === undefined) throw this.#wrong(name, `one of ${words.join(', ')}`);
    return found;
  }

  object(name: string): Answer {
    return new Answer(this.#fields[name], `${this.#place}.${name}`);
  }

  texts(name: string, maxLength = MAX_TEXT): readonly string[] {
    return this.#list(name).map((value) => {
      if (typeof value !== 'string' || value.length > maxLength) throw this.#wrong(name, 'a list of texts');
      return value;
    });
  }

  objects(name: string): readonly Answer[] {
    return this.#list(name).map((value, at) => new Answer(value, `${this.#place}.${name}[${at}]`));
  }

  /** An object whose values are all texts. */
  map(name: string): Readonly<Record<string, string>> {
    const value = this.#fields[name];
    if (value === null || typeof value !== 'object' || Array.isArray(value))
      throw this.#wrong(name, 'an object');
    const map: Record<string, string> = {};
    for (const [key, text] of Object.entries(value)) {
      if (typeof text !== 'string') throw this.#wrong(name, 'an object of texts');
      map[key] = text;
    }
    return map;
  }

  #wrong(name: string, expected: string): ClientError {
    return malformed(`${this.#place}.${name} is not ${expected}`);
  }

  #list(name: string): readonly Json[] {
    const value = this.#fields[name];
    if (!Array.isArray(value)) throw this.#wrong(name, 'a list');
    return value;
  }
}

function malformed(what: string, cause?: unknown): ClientError {
  return new ClientError(
    'answer-malformed',
    'internal',
    `the server's answer cannot be used: ${what}. Check that the address is that of a Beacon server, and its version`,
    { cause },
  );
}
