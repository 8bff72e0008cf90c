/** Lifetimes as people write them, `"900s"`, `"15m"`, `"1h"`, and the bounds that hold whatever a policy says (DESIGN 4). */

/** Bounds of the lifetime of a certificate, in seconds; without `@max_lifetime` a permit covers `default` seconds. */
export const lifetimeBounds = { shortest: 30, default: 900, longest: 3600 } as const;

const secondsIn = { s: 1, m: 60, h: 3600 } as const;

/** Seconds of `"15m"`, or null when the text is malformed or outside 30 seconds to one hour. */
export function parseLifetime(text: string): number | null {
  const found = /^([1-9][0-9]{0,3})([smh])$/.exec(text);
  const unit = found?.[2];
  if (unit !== 's' && unit !== 'm' && unit !== 'h') return null;
  const seconds = Number(found?.[1]) * secondsIn[unit];
  return isLifetime(seconds) ? seconds : null;
}

/** True for whole seconds within the bounds. */
export function isLifetime(seconds: number): boolean {
  return Number.isInteger(seconds) && seconds >= lifetimeBounds.shortest && seconds <= lifetimeBounds.longest;
}

/** `15m` for 900, `90s` for 90. */
export function formatLifetime(seconds: number): string {
  if (seconds % 3600 === 0) return `${seconds / 3600}h`;
  return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`;
}
