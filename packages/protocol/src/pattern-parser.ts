/** Reads the text of an allowlist's pattern into its parts; what it means and how it is matched is `pattern.ts`. */
import { ProtocolError } from './error.ts';

/** Which characters: one flag for each of ASCII and a last one for all others. */
export type PatternSet = readonly boolean[];

export type PatternNode =
  /** `alone` is the code of the one character that was written by itself; undefined for classes of several and `.`. */
  | { readonly kind: 'one'; readonly set: PatternSet; readonly alone: number | undefined }
  | { readonly kind: 'sequence'; readonly parts: readonly PatternNode[] }
  | { readonly kind: 'either'; readonly branches: readonly PatternNode[] }
  | { readonly kind: 'repeat'; readonly part: PatternNode; readonly least: number; readonly most: number };

const LONGEST_PATTERN = 512;
const DEEPEST_GROUP = 8;
const MOST_REPETITIONS = 1_024;
const OTHERS = 128;
const QUANTIFIER = /(?:[?*+]|\{(\d{1,4})(,(\d{1,4})?)?\})/y;

/** Reads one pattern, once. */
export class PatternParser {
  readonly #source: string;
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  /** Throws ProtocolError `pattern-malformed`. */
  parse(): PatternNode {
    if (this.#source.length > LONGEST_PATTERN) {
      throw this.#refusal(`it is longer than ${LONGEST_PATTERN} characters`);
    }
    if (this.#source === '') throw this.#refusal('it is empty and would match the empty value only');
    const node = this.#branches(0);
    if (this.#at < this.#source.length) throw this.#refusal('")" closes nothing');
    return node;
  }

  #branches(depth: number): PatternNode {
    if (depth > DEEPEST_GROUP) throw this.#refusal(`groups are nested deeper than ${DEEPEST_GROUP}`);
    const branches: PatternNode[][] = [[]];
    for (;;) {
      const character = this.#source[this.#at];
      if (character === undefined || character === ')') break;
      if (character === '|') {
        this.#at++;
        branches.push([]);
      } else {
        branches.at(-1)?.push(this.#quantified(character === '(' ? this.#group(depth) : this.#one()));
      }
    }
    const sequences = branches.map((parts): PatternNode => ({ kind: 'sequence', parts }));
    const [only] = sequences;
    return sequences.length === 1 && only !== undefined ? only : { kind: 'either', branches: sequences };
  }

  #group(depth: number): PatternNode {
    this.#at++;
    if (this.#source.startsWith('?:', this.#at)) this.#at += 2;
    else if (this.#source[this.#at] === '?') throw this.#refusal('look-around and named groups are unknown');
    const node = this.#branches(depth + 1);
    if (this.#source[this.#at] !== ')') throw this.#refusal('"(" is not closed');
    this.#at++;
    return node;
  }

  #one(): PatternNode {
    const character = this.#source[this.#at] ?? '';
    if (character === '[') return this.#class();
    if (character === '.') {
      this.#at++;
      return { kind: 'one', set: setWhere(() => true), alone: undefined };
    }
    if (character === '\\') return literal(this.#escaped(false));
    if ('^$'.includes(character)) {
      throw this.#refusal(`"${character}" is not needed: patterns are always anchored`);
    }
    if ('*+?{}]'.includes(character)) {
      throw this.#refusal(`"${character}" stands alone; write "\\${character}" for itself`);
    }
    return literal(this.#plain());
  }

  #class(): PatternNode {
    this.#at++;
    const isNegated = this.#source[this.#at] === '^';
    if (isNegated) this.#at++;
    const listed = new Set<number>();
    for (;;) {
      const character = this.#source[this.#at];
      if (character === undefined) throw this.#refusal('"[" is not closed');
      if (character === ']') break;
      if (character === '[') throw this.#refusal('"[" inside a class is written "\\["');
      const from = this.#member();
      if (this.#source[this.#at] !== '-' || this.#source[this.#at + 1] === ']') {
        listed.add(from);
      } else {
        this.#at++;
        const to = this.#member();
        if (to < from) throw this.#refusal('a range in a class runs backwards');
        for (let code = from; code <= to; code++) listed.add(code);
      }
    }
    this.#at++;
    const [first] = listed;
    if (first === undefined) throw this.#refusal('a class is empty');
    if (!isNegated && listed.size === 1) return literal(first);
    return { kind: 'one', set: setWhere((code) => listed.has(code) !== isNegated), alone: undefined };
  }

  #member(): number {
    return this.#source[this.#at] === '\\' ? this.#escaped(true) : this.#plain();
  }

  #escaped(inClass: boolean): number {
    const character = this.#source[this.#at + 1] ?? '';
    if (!/^[\^$\\.*+?()[\]{}|/-]$/.test(character)) {
      throw this.#refusal(`"\\${character}" is unknown; write a class such as "[0-9]"`);
    }
    if (character === '-' && !inClass) throw this.#refusal('"\\-" is written "-"');
    this.#at += 2;
    return character.charCodeAt(0);
  }

  #plain(): number {
    const code = this.#source.charCodeAt(this.#at);
    if (!(code >= 0x20 && code < 0x7f)) throw this.#refusal('patterns are written in printable ASCII');
    this.#at++;
    return code;
  }

  #quantified(part: PatternNode): PatternNode {
    QUANTIFIER.lastIndex = this.#at;
    const found = QUANTIFIER.exec(this.#source);
    if (found === null) {
      if (this.#source[this.#at] === '{') {
        throw this.#refusal('"{" begins no number of repetitions; write "\\{" for itself');
      }
      return part;
    }
    const [text, low, comma, high] = found;
    const unbounded = text === '*' || text === '+' || (comma !== undefined && high === undefined);
    const least = low === undefined ? (text === '+' ? 1 : 0) : Number(low);
    const most = unbounded ? Number.POSITIVE_INFINITY : Number(high ?? low ?? 1);
    if (most < least || most === 0 || least > MOST_REPETITIONS || (!unbounded && most > MOST_REPETITIONS)) {
      throw this.#refusal(`"${text}" is no number of repetitions between 1 and ${MOST_REPETITIONS}`);
    }
    this.#at += text.length;
    if (/^[?*+{]/.test(this.#source.slice(this.#at)))
      throw this.#refusal('two quantifiers follow one another');
    return { kind: 'repeat', part, least, most };
  }

  #refusal(what: string): ProtocolError {
    return new ProtocolError('pattern-malformed', `not a pattern, at character ${this.#at + 1}: ${what}`);
  }
}

function literal(code: number): PatternNode {
  return { kind: 'one', set: setWhere((other) => other === code), alone: code };
}

function setWhere(isIn: (code: number) => boolean): PatternSet {
  return Array.from({ length: OTHERS + 1 }, (_, code) => isIn(code));
}
