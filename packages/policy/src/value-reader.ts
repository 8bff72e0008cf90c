/**
 * Strict reading of a parsed value (YAML or JSON, whoever parsed it): the type is checked, unknown keys are refused with
 * their place and the nearest known key, and nothing is converted.
 */
import { PolicyError, type PolicyErrorCode } from './error.ts';
import { suggest } from './nearest.ts';

const longestText = 4096;
const mostEntries = 10_000;

/** True for a well-formed text without control characters of at most `longest` UTF-16 units. */
export function isText(value: unknown, longest: number): value is string {
  return (
    typeof value === 'string' &&
    value.length <= longest &&
    value.isWellFormed() &&
    !/[\0-\x1f\x7f]/.test(value)
  );
}

/** A value and where it stands. */
export class ValueReader {
  readonly value: unknown;
  private readonly code: PolicyErrorCode;
  private readonly file: string;
  private readonly key: string;

  constructor(code: PolicyErrorCode, file: string, key: string, value: unknown) {
    this.code = code;
    this.file = file;
    this.key = key;
    this.value = value;
  }

  refuse(text: string): PolicyError {
    return new PolicyError(this.code, { file: this.file, key: this.key }, text);
  }

  readText(): string {
    if (!isText(this.value, longestText)) throw this.refuse('is not a text of one line.');
    return this.value;
  }

  readBoolean(): boolean {
    if (typeof this.value !== 'boolean') throw this.refuse('is neither true nor false.');
    return this.value;
  }

  readList(): ValueReader[] {
    if (!Array.isArray(this.value) || this.value.length > mostEntries) throw this.refuse('is not a list.');
    return this.value.map((each: unknown, index) => this.below(`[${index}]`, each));
  }

  readTexts(): string[] {
    return this.readList().map((each) => each.readText());
  }

  /** One of a closed set of words. */
  readWord<Word extends string>(words: readonly Word[]): Word {
    const found = words.find((word) => word === this.value);
    if (found === undefined) {
      const hint = typeof this.value === 'string' ? suggest(this.value, words) : '';
      throw this.refuse(`is none of ${words.join(', ')}.${hint}`);
    }
    return found;
  }

  /** The entries of a mapping whose keys are names of things. */
  readEntries(): [string, ValueReader][] {
    return this.entriesOfMapping().map(([name, value]) => [name, this.below(`.${name}`, value)]);
  }

  /** A mapping with these keys only; a key that is left out is asked for with `has`. */
  readRecord<Key extends string>(known: readonly Key[]): RecordReader<Key> {
    const entries = this.entriesOfMapping();
    for (const [name] of entries) {
      if (!known.some((key) => key === name)) {
        throw this.refuse(
          `unknown key "${name}".${suggest(name, known) || ` Known are ${known.join(', ')}.`}`,
        );
      }
    }
    return new RecordReader(this, new Map(this.readEntries()));
  }

  private entriesOfMapping(): [string, unknown][] {
    if (typeof this.value !== 'object' || this.value === null || Array.isArray(this.value)) {
      throw this.refuse('is not a mapping of keys to values.');
    }
    const entries = Object.entries(this.value);
    if (entries.length > mostEntries) throw this.refuse(`has more than ${mostEntries} entries.`);
    return entries;
  }

  private below(step: string, value: unknown): ValueReader {
    const key = this.key === '' && step.startsWith('.') ? step.slice(1) : `${this.key}${step}`;
    return new ValueReader(this.code, this.file, key, value);
  }
}

/** A mapping whose keys have been checked. */
export class RecordReader<Key extends string> {
  private readonly whole: ValueReader;
  private readonly entries: ReadonlyMap<string, ValueReader>;

  constructor(whole: ValueReader, entries: ReadonlyMap<string, ValueReader>) {
    this.whole = whole;
    this.entries = entries;
  }

  has(key: Key): boolean {
    return this.entries.has(key);
  }

  read(key: Key): ValueReader {
    const found = this.entries.get(key);
    if (found === undefined) throw this.whole.refuse(`"${key}" is missing.`);
    return found;
  }

  refuse(text: string): PolicyError {
    return this.whole.refuse(text);
  }
}
