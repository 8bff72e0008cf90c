/**
 * Strict reading of what `parseStrictJson` gave: the type is checked, unknown keys are refused with their place and the
 * nearest known key, and nothing is converted, trimmed or filled in.
 */
import { ProtocolError, type ProtocolErrorCode } from './error.ts';
import { isName, type NameKind, nameForms } from './name.ts';
import { didYouMean } from './nearest.ts';
import type { Json } from './strict-json.ts';

const LONGEST_TEXT = 65_536;

/** A value and where it stands. */
export class ValueReader {
  readonly value: Json | undefined;
  readonly place: string;
  readonly #code: ProtocolErrorCode;

  /** `place` is the name of the whole; `code` is that of every refusal. */
  constructor(code: ProtocolErrorCode, place: string, value: Json | undefined) {
    this.#code = code;
    this.place = place;
    this.value = value;
  }

  refusal(what: string): ProtocolError {
    return new ProtocolError(this.#code, `${this.place}: ${what}`);
  }

  /** A text of one line that is not empty. */
  text(longest = LONGEST_TEXT): string {
    const value = this.value;
    if (typeof value !== 'string' || value === '' || value.length > longest || /\p{Cc}/u.test(value)) {
      throw this.refusal(`it must be a text of one line, 1 to ${longest} characters`);
    }
    return value;
  }

  /** A text that is exactly a name of that kind. */
  name(kind: NameKind): string {
    const value = this.value;
    if (typeof value !== 'string' || !isName(kind, value))
      throw this.refusal(`it must be ${nameForms[kind]}`);
    return value;
  }

  boolean(): boolean {
    if (typeof this.value !== 'boolean') throw this.refusal('it must be true or false');
    return this.value;
  }

  integer(least: number, most: number): number {
    const value = this.value;
    if (typeof value !== 'number' || value < least || value > most) {
      throw this.refusal(`it must be an integer from ${least} to ${most}`);
    }
    return value;
  }

  list(most: number): ValueReader[] {
    if (!Array.isArray(this.value) || this.value.length > most) {
      throw this.refusal(`it must be a list of at most ${most}`);
    }
    return this.value.map((each, index) => new ValueReader(this.#code, `${this.place}[${index}]`, each));
  }

  /** The entries of an object whose keys are names of things. */
  entries(most: number): [string, ValueReader][] {
    const entries = Object.entries(this.#object());
    if (entries.length > most) throw this.refusal(`it has more than ${most} entries`);
    return entries.map(([key, value]) => [key, this.#below(key, value)]);
  }

  /** The members of an object that has no other keys than these; one that is left out is undefined. */
  members<Required extends string, Optional extends string = never>(
    required: readonly Required[],
    optional: readonly Optional[] = [],
  ): Record<Required, ValueReader> & Record<Optional, ValueReader | undefined> {
    const object = this.#object();
    const known: readonly string[] = [...required, ...optional];
    for (const key of Object.keys(object)) {
      if (known.includes(key)) continue;
      const shown = JSON.stringify(key.slice(0, 40));
      throw this.refusal(
        `the key ${shown} is unknown${didYouMean(key, known) || `; known are ${known.join(', ')}`}`,
      );
    }
    for (const key of required) {
      if (!Object.hasOwn(object, key)) throw this.refusal(`the key "${key}" is missing`);
    }
    const read = known.map((key) => [
      key,
      Object.hasOwn(object, key) ? this.#below(key, object[key]) : undefined,
    ]);
    return Object.fromEntries(read) as Record<Required, ValueReader> &
      Record<Optional, ValueReader | undefined>;
  }

  #object(): { [key: string]: Json } {
    const value = this.value;
    if (value === null || typeof value !== 'object' || Array.isArray(value)) {
      throw this.refusal('it must be an object');
    }
    return value;
  }

  #below(key: string, value: Json | undefined): ValueReader {
    return new ValueReader(this.#code, `${this.place}.${key.slice(0, 80)}`, value);
  }
}
