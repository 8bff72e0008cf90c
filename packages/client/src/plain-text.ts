/**
 * Text from a server made safe to show: a hostile answer must not move the cursor, set a title, ring or pretend to be
 * another line (ATTACKS.md I12). It is made visible, not interpreted.
 */

/** C0 and C1 controls, line and paragraph separators, and the marks that turn the direction of writing. */
const UNSAFE = /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/** One line of at most `maxCharacters`; controls become `\u….`, and what is cut off is said. */
export function plainText(text: string, maxCharacters = 1000): string {
  const cut = text.length > maxCharacters ? `${text.slice(0, maxCharacters)} … (cut)` : text;
  return cut
    .toWellFormed()
    .replace(UNSAFE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
