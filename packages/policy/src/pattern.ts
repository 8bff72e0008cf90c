/**
 * The patterns of parameters, in a small part of the regular expressions' syntax for which the time to match has a bound
 * that is known when the pattern is loaded: literals, `.`, `[classes]`, `(groups|alternatives)`; `?` on anything;
 * `*`, `+`, `{n}`, `{n,m}` on single characters only. What could be matched in too many ways (`(a+)+`, `a*a*a*b`) is
 * refused. A pattern is always anchored at both ends. No back reference, no look-around, no lazy quantifier.
 */

/** Thrown inside this file and by `compilePattern`; the caller knows the place and makes a PolicyError of it. */
export class PatternRefused extends Error {
  override readonly name = 'PatternRefused';
}

/** The longest value that is matched at all, in UTF-16 units; longer values are refused before the pattern is tried. */
export const longestValue = 1024;

const longestPattern = 512;
/** Ways in which a value may be divided among the pattern's parts; each way costs at most one pass over the value. */
const mostWays = 1024;
const deepestGroup = 8;

/** Which characters: one flag for each of ASCII and a last one for all others. */
type Characters = readonly boolean[];
const others = 128;

type Node =
  | { readonly kind: 'one'; readonly set: Characters; readonly least: number; readonly most: number }
  | { readonly kind: 'group'; readonly branches: readonly Node[][]; readonly optional: boolean };

/** Checks the syntax and the cost, and returns the test of a whole value; throws PatternRefused. */
export function compilePattern(source: string): (value: string) => boolean {
  if (source.length > longestPattern) {
    throw new PatternRefused(`the pattern is longer than ${longestPattern} characters`);
  }
  if (source === '') throw new PatternRefused('the pattern is empty; it would match the empty value only');
  const branches = new Reader(source).readAll();
  const ways = waysOfBranches(branches, none);
  if (ways > mostWays) {
    throw new PatternRefused(
      'the pattern can match one value in too many ways to be quick; let neighbouring repeated parts have no character in common',
    );
  }
  const expression = new RegExp(`^(?:${source})$`, 'u');
  return (value) => value.length <= longestValue && expression.test(value);
}

class Reader {
  private readonly source: string;
  private at = 0;

  constructor(source: string) {
    this.source = source;
  }

  readAll(): Node[][] {
    const branches = this.readBranches(0);
    if (this.at < this.source.length) throw this.refuse('")" closes nothing');
    return branches;
  }

  private readBranches(depth: number): Node[][] {
    if (depth > deepestGroup) throw this.refuse(`groups are nested deeper than ${deepestGroup}`);
    const branches: Node[][] = [[]];
    for (;;) {
      const character = this.source[this.at];
      if (character === undefined || character === ')') return branches;
      if (character === '|') {
        this.at += 1;
        branches.push([]);
        continue;
      }
      branches.at(-1)?.push(character === '(' ? this.readGroup(depth) : this.readOne());
    }
  }

  private readGroup(depth: number): Node {
    this.at += 1;
    if (this.source.startsWith('?:', this.at)) this.at += 2;
    else if (this.source[this.at] === '?') throw this.refuse('look-around and named groups are not allowed');
    const branches = this.readBranches(depth + 1);
    if (this.source[this.at] !== ')') throw this.refuse('"(" is not closed');
    this.at += 1;
    const { least, most } = this.readQuantifier();
    if (most === 1) return { kind: 'group', branches, optional: least === 0 };
    throw this.refuse('a group may be followed by "?" only; repeat single characters, not groups');
  }

  private readOne(): Node {
    const set = this.readSet();
    return { kind: 'one', set, ...this.readQuantifier() };
  }

  private readSet(): Characters {
    const character = this.source[this.at] ?? '';
    if (character === '[') return this.readClass();
    if (character === '.') {
      this.at += 1;
      return charactersWhere((code) => code !== 0x0a && code !== 0x0d);
    }
    if (character === '\\') return only(this.readEscaped(false));
    if ('^$'.includes(character))
      throw this.refuse(`"${character}" is not needed: patterns are always anchored`);
    if ('*+?{}]'.includes(character))
      throw this.refuse(`"${character}" stands alone; write "\\${character}" for itself`);
    return only(this.readPlain());
  }

  private readClass(): Characters {
    this.at += 1;
    const negated = this.source[this.at] === '^';
    if (negated) this.at += 1;
    const listed = new Set<number>();
    for (;;) {
      const character = this.source[this.at];
      if (character === undefined) throw this.refuse('"[" is not closed');
      if (character === ']') break;
      if (character === '[') throw this.refuse('"[" inside a class is written "\\["');
      const from = this.readClassMember();
      if (this.source[this.at] !== '-' || this.source[this.at + 1] === ']') {
        listed.add(from);
      } else {
        this.at += 1;
        const to = this.readClassMember();
        if (to < from) throw this.refuse('a range in a class runs backwards');
        for (let code = from; code <= to; code += 1) listed.add(code);
      }
    }
    this.at += 1;
    if (listed.size === 0) throw this.refuse('a class is empty');
    return charactersWhere((code) => listed.has(code) !== negated);
  }

  private readClassMember(): number {
    return this.source[this.at] === '\\' ? this.readEscaped(true) : this.readPlain();
  }

  private readEscaped(inClass: boolean): number {
    const character = this.source[this.at + 1] ?? '';
    if (!/^[\^$\\.*+?()[\]{}|/-]$/.test(character)) {
      throw this.refuse(`"\\${character}" is not known; write a class such as "[0-9]"`);
    }
    // Without the flag `v` a dash may be escaped inside a class only.
    if (character === '-' && !inClass) throw this.refuse('"\\-" is written "-"');
    this.at += 2;
    return character.charCodeAt(0);
  }

  private readPlain(): number {
    const code = this.source.charCodeAt(this.at);
    if (!(code >= 0x20 && code < 0x7f)) throw this.refuse('patterns are written in printable ASCII');
    this.at += 1;
    return code;
  }

  private readQuantifier(): { least: number; most: number } {
    const rest = this.source.slice(this.at);
    const found = /^(?:[?*+]|\{(\d{1,4})(,(\d{1,4})?)?\})/.exec(rest);
    if (found === null) {
      if (rest.startsWith('{'))
        throw this.refuse('"{" begins no number of repetitions; write "\\{" for itself');
      return { least: 1, most: 1 };
    }
    this.at += found[0].length;
    if (/^[?*+{]/.test(this.source.slice(this.at))) throw this.refuse('two quantifiers follow one another');
    if (found[0] === '?') return { least: 0, most: 1 };
    if (found[0] === '*') return { least: 0, most: longestValue };
    if (found[0] === '+') return { least: 1, most: longestValue };
    const least = Number(found[1]);
    const most = found[2] === undefined ? least : found[3] === undefined ? longestValue : Number(found[3]);
    if (most < least || most === 0 || most > longestValue) {
      throw this.refuse(`"${found[0]}" is no number of repetitions between 1 and ${longestValue}`);
    }
    return { least, most };
  }

  private refuse(text: string): PatternRefused {
    return new PatternRefused(`${text} (at character ${this.at + 1})`);
  }
}

function charactersWhere(test: (code: number) => boolean): Characters {
  return Array.from({ length: others + 1 }, (_, code) => test(code));
}

function only(character: number): Characters {
  return charactersWhere((code) => code === character);
}

const none = charactersWhere(() => false);

function union(a: Characters, b: Characters): Characters {
  return a.map((is, code) => is || b[code] === true);
}

function overlaps(a: Characters, b: Characters): boolean {
  return a.some((is, code) => is && b[code] === true);
}

function isNullable(node: Node): boolean {
  return node.kind === 'one'
    ? node.least === 0
    : node.optional || node.branches.some((branch) => branch.every(isNullable));
}

/** The characters with which the sequence can begin, and, if it can be empty, those of what follows. */
function firstOf(sequence: readonly Node[], after: Characters): Characters {
  let first = none;
  for (const node of sequence) {
    if (node.kind === 'one') first = union(first, node.set);
    else for (const branch of node.branches) first = union(first, firstOf(branch, none));
    if (!isNullable(node)) return first;
  }
  return union(first, after);
}

/**
 * An upper bound of the ways in which one value can be divided: a repeated part counts only when its characters can also
 * begin what follows it, alternatives add up only when they begin alike.
 */
function waysOfSequence(sequence: readonly Node[], after: Characters): number {
  let ways = 1;
  sequence.forEach((node, index) => {
    const follow = firstOf(sequence.slice(index + 1), after);
    if (node.kind === 'one') {
      if (node.most > node.least && overlaps(node.set, follow)) ways *= node.most - node.least + 1;
      return;
    }
    const skipped = isNullable(node) && overlaps(firstOf([node], none), follow) ? 1 : 0;
    ways *= waysOfBranches(node.branches, follow) + skipped;
  });
  return ways;
}

function waysOfBranches(branches: readonly Node[][], after: Characters): number {
  const each = branches.map((branch) => waysOfSequence(branch, after));
  const firsts = branches.map((branch) => firstOf(branch, after));
  const alike = firsts.some((first, index) =>
    firsts.slice(index + 1).some((other) => overlaps(first, other)),
  );
  return alike ? each.reduce((sum, ways) => sum + ways, 0) : Math.max(...each);
}
