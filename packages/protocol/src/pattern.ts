/**
 * The patterns of an allowlist's parameters: a small part of the regular expressions' syntax, always anchored at both
 * ends, matched in time linear in the value whatever the pattern (a set of states is walked, nothing is tried twice).
 * Literals, `.`, `[classes]`, `(groups|alternatives)`, and `?`, `*`, `+`, `{n}`, `{n,m}` on any of them. No back
 * reference, no look-around, no class by letter (`\d`).
 *
 * Under every pattern lies a floor: a value that begins with `-` matches only where the pattern begins with a `-` that
 * stands for itself alone, for programs take such a value for an option (`-oProxyCommand=…`); and no value has a
 * control character.
 */
import { ProtocolError } from './error.ts';
import { type PatternNode, PatternParser } from './pattern-parser.ts';

/** The longest value that is matched at all, in UTF-16 units. */
export const LONGEST_VALUE = 16_384;

const MOST_STATES = 2_048;
const DASH = 0x2d;
const CONTROL = /\p{Cc}/u;

/** One state: consumes a character of a set, or goes on in one or two places, or is the end. */
type State =
  | { readonly kind: 'one'; readonly set: PatternNode & { kind: 'one' } }
  | { readonly kind: 'fork'; readonly to: number[] }
  | { readonly kind: 'end' };

export interface Pattern {
  readonly source: string;
  /** Whether the whole of `value` is what the pattern describes. */
  matches(value: string): boolean;
}

/** Throws ProtocolError `pattern-malformed`, which says where. */
export function compilePattern(source: string): Pattern {
  const builder = new Builder();
  builder.add(new PatternParser(source).parse());
  const { states } = builder;
  states.push({ kind: 'end' });
  return {
    source,
    matches: (value) => value.length <= LONGEST_VALUE && !CONTROL.test(value) && run(states, value),
  };
}

/** Makes the states of a pattern's parts; the way out of a part is the state that is added next. */
class Builder {
  readonly states: State[] = [];
  #steps = 0;

  add(node: PatternNode): void {
    // Counted by the step, for repeated empty parts make no states.
    if (++this.#steps > MOST_STATES) {
      throw new ProtocolError(
        'pattern-malformed',
        `the pattern needs more than ${MOST_STATES} states: repeat fewer times`,
      );
    }
    switch (node.kind) {
      case 'one':
        this.states.push({ kind: 'one', set: node });
        return;
      case 'sequence':
        for (const part of node.parts) this.add(part);
        return;
      case 'either':
        this.#addEither(node.branches);
        return;
      case 'repeat':
        this.#addRepeat(node);
        return;
    }
  }

  #fork(...to: number[]): number[] {
    this.states.push({ kind: 'fork', to });
    return to;
  }

  #addEither(branches: readonly PatternNode[]): void {
    const begins = this.#fork();
    const ends: number[][] = [];
    for (const branch of branches) {
      begins.push(this.states.length);
      this.add(branch);
      ends.push(this.#fork());
    }
    for (const end of ends) end.push(this.states.length);
  }

  #addRepeat({ part, least, most }: PatternNode & { kind: 'repeat' }): void {
    for (let count = 0; count < least; count++) this.add(part);
    if (most === Number.POSITIVE_INFINITY) {
      const begin = this.states.length;
      const leave = this.#fork(begin + 1);
      this.add(part);
      this.#fork(begin);
      leave.push(this.states.length);
      return;
    }
    const skips: number[][] = [];
    for (let count = least; count < most; count++) {
      skips.push(this.#fork(this.states.length + 1));
      this.add(part);
    }
    for (const skip of skips) skip.push(this.states.length);
  }
}

function run(states: readonly State[], value: string): boolean {
  let here = reach(states, [0]);
  let isFirst = true;
  for (const character of value) {
    const code = character.codePointAt(0) ?? 0;
    const next: number[] = [];
    for (const at of here) {
      const state = states[at];
      if (state?.kind === 'one' && isIn(state.set, code, isFirst)) next.push(at + 1);
    }
    if (next.length === 0) return false;
    here = reach(states, next);
    isFirst = false;
  }
  return here.has(states.length - 1);
}

function isIn({ set, alone }: PatternNode & { kind: 'one' }, code: number, isFirst: boolean): boolean {
  if (isFirst && code === DASH) return alone === DASH;
  return set[Math.min(code, set.length - 1)] === true;
}

/** All states that are reached from these without consuming anything, these included. */
function reach(states: readonly State[], from: readonly number[]): Set<number> {
  const reached = new Set(from);
  for (const at of reached) {
    const state = states[at];
    if (state?.kind === 'fork') for (const to of state.to) reached.add(to);
  }
  return reached;
}
