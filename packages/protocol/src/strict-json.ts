/**
 * A strict reader of JSON (RFC 8259) for everything that is hashed, signed or decides something. Beyond the grammar it
 * refuses what two readers could understand differently: doubled keys, lone surrogates, numbers that are not safe
 * integers, a `__proto__` key, nesting deeper than 32, and a byte order mark. It repairs nothing.
 */
import { ProtocolError } from './error.ts';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const MAX_DEPTH = 32;
const NUMBER = /-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const ESCAPES: Record<string, string> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** The value that `text` stands for. Throws ProtocolError (`json-…`) that names the character where reading stopped. */
export function parseStrictJson(text: string): Json {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

/** {@link parseStrictJson} over bytes, which must be well-formed UTF-8. */
export function parseStrictJsonBytes(bytes: Uint8Array): Json {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new ProtocolError('json-syntax', 'the text is not UTF-8');
  }
  return parseStrictJson(text);
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): Json {
    if (depth > MAX_DEPTH) throw this.#refusal('json-depth', `values are nested deeper than ${MAX_DEPTH}`);
    this.#space();
    const value = this.#bare(depth);
    this.#space();
    return value;
  }

  end(): void {
    if (this.#at !== this.#text.length) throw this.#refusal('json-syntax', 'something follows the value');
  }

  #bare(depth: number): Json {
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object(depth);
      case '[':
        return this.#array(depth);
      case '"':
        return this.#string();
      case 't':
        return this.#word('true', true);
      case 'f':
        return this.#word('false', false);
      case 'n':
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  #object(depth: number): Json {
    const object: { [key: string]: Json } = {};
    this.#at++;
    this.#space();
    if (this.#take('}')) return object;
    do {
      this.#space();
      if (this.#text[this.#at] !== '"')
        throw this.#refusal('json-syntax', 'a key in double quotes was expected');
      const key = this.#string();
      if (key === '__proto__') throw this.#refusal('json-syntax', 'the key "__proto__" is not allowed');
      if (Object.hasOwn(object, key)) {
        throw this.#refusal('json-doubled-key', `the key ${JSON.stringify(key.slice(0, 80))} stands twice`);
      }
      this.#space();
      this.#expect(':');
      object[key] = this.value(depth + 1);
    } while (this.#take(','));
    this.#expect('}');
    return object;
  }

  #array(depth: number): Json {
    const array: Json[] = [];
    this.#at++;
    this.#space();
    if (this.#take(']')) return array;
    do array.push(this.value(depth + 1));
    while (this.#take(','));
    this.#expect(']');
    return array;
  }

  #string(): string {
    this.#at++;
    let value = '';
    for (;;) {
      value += this.#match(PLAIN);
      if (this.#take('"')) break;
      if (!this.#take('\\'))
        throw this.#refusal('json-syntax', 'a string is not closed or holds a control character');
      value += this.#escape();
    }
    if (!value.isWellFormed())
      throw this.#refusal('json-surrogate', 'a string holds half of a surrogate pair');
    return value;
  }

  #escape(): string {
    const letter = this.#text[this.#at++] ?? '';
    if (letter === 'u') {
      const hex = this.#text.slice(this.#at, this.#at + 4);
      if (!/^[0-9a-fA-F]{4}$/.test(hex))
        throw this.#refusal('json-syntax', 'four hexadecimal digits were expected');
      this.#at += 4;
      return String.fromCharCode(Number.parseInt(hex, 16));
    }
    const character = Object.hasOwn(ESCAPES, letter) ? ESCAPES[letter] : undefined;
    if (character === undefined) throw this.#refusal('json-syntax', 'an unknown escape');
    return character;
  }

  #number(): number {
    const text = this.#match(NUMBER);
    if (text === '') throw this.#refusal('json-syntax', 'a value was expected');
    const value = Number(text);
    if (!/^-?[0-9]+$/.test(text) || !Number.isSafeInteger(value) || text === '-0') {
      throw this.#refusal('json-number', `${text.slice(0, 40)} is not an integer of at most 53 bits`);
    }
    return value;
  }

  #word<T extends Json>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#refusal('json-syntax', 'a value was expected');
    this.#at += word.length;
    return value;
  }

  #space(): void {
    for (;;) {
      const unit = this.#text.charCodeAt(this.#at);
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return;
      this.#at++;
    }
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? '';
    this.#at += found.length;
    return found;
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #expect(character: string): void {
    if (!this.#take(character)) throw this.#refusal('json-syntax', `"${character}" was expected`);
  }

  #refusal(code: ConstructorParameters<typeof ProtocolError>[0], what: string): ProtocolError {
    return new ProtocolError(code, `not strict JSON at character ${this.#at}: ${what}`);
  }
}
