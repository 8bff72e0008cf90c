/**
 * The names that policy compares, DESIGN 8. They are compared exactly, as they stand; a name that is not canonical
 * (`HOST`, `host.`, `0x7f.1`) is refused and never folded into another. `policy` imports nothing of ours, so the forms
 * stand here too.
 */

/** `[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?` */
export function isHostId(text: string): boolean {
  return /^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/.test(text);
}

/** `[a-z_][a-z0-9_-]{0,31}` */
export function isLogin(text: string): boolean {
  return /^[a-z_][a-z0-9_-]{0,31}$/.test(text);
}

/** `[a-z][a-z0-9_-]*([.][a-z0-9_-]+)*`, at most 64 characters. */
export function isCommandName(text: string): boolean {
  return text.length <= 64 && /^[a-z][a-z0-9_-]*(?:[.][a-z0-9_-]+)*$/.test(text);
}

/** `[a-z][a-z0-9_]{0,31}` */
export function isParameterName(text: string): boolean {
  return /^[a-z][a-z0-9_]{0,31}$/.test(text);
}

export function isPoolName(text: string): boolean {
  return /^[a-z0-9][a-z0-9._-]{0,62}$/.test(text);
}

export function isLabelKey(text: string): boolean {
  return /^[a-z0-9][a-z0-9._/-]{0,62}$/.test(text);
}

/** `<provider>:<numeric id>`: a person, a team or an organisation. */
export function isProviderId(text: string): boolean {
  return /^[a-z][a-z0-9-]{0,31}:[1-9][0-9]{0,18}$/.test(text);
}

/** The provider of a `<provider>:<numeric id>`. */
export function providerOf(id: string): string {
  return id.slice(0, id.indexOf(':'));
}

/** An id given by `@id("…")`: it stands in records, so its alphabet is small. */
export function isPolicyId(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text);
}

/** An IPv4 or IPv6 address in its one canonical form; an IPv4 address mapped into IPv6 has none. */
export function isCanonicalAddress(text: string): boolean {
  if (/^[0-9.]+$/.test(text)) {
    const parts = text.split('.');
    return (
      parts.length === 4 && parts.every((part) => /^(?:0|[1-9][0-9]{0,2})$/.test(part) && Number(part) <= 255)
    );
  }
  if (!/^[0-9a-f:]{2,39}$/.test(text) || text.startsWith('::ffff:')) return false;
  return URL.canParse(`http://[${text}]/`) && new URL(`http://[${text}]/`).hostname === `[${text}]`;
}

/** Takes an IPv4 address out of the form in which a socket for both families shows it (`::ffff:192.0.2.7`). */
export function unmapAddress(text: string): string {
  const inner = /^::ffff:([0-9.]+)$/.exec(text)?.[1];
  return inner !== undefined && isCanonicalAddress(inner) ? inner : text;
}
