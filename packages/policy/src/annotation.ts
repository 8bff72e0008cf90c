/**
 * The annotations of a policy: `@id`, `@description`, `@reason`, and on a permit its limits, `@max_lifetime("15m")` and
 * `@extensions("permit-pty")`. Cedar itself gives annotations no meaning, so a misspelt one would be silent: here every
 * unknown one is refused. What is left out grants nothing: 15 minutes and no extension.
 */

import { lifetimeBounds, parseLifetime } from './lifetime.ts';
import { isPolicyId } from './name.ts';
import { suggest } from './nearest.ts';

/**
 * The extensions of a certificate that policy may grant (draft-ietf-sshm-cert-01). `no-touch-required` is not among
 * them: it would take the touch away from keys whose owners chose to have one.
 */
export const knownExtensions = [
  'permit-X11-forwarding',
  'permit-agent-forwarding',
  'permit-port-forwarding',
  'permit-pty',
  'permit-user-rc',
] as const;
export type Extension = (typeof knownExtensions)[number];

/** What one permit covers: the longest lifetime in seconds, and extensions of `ssh`, sorted. */
export interface Limits {
  readonly maxLifetimeSeconds: number;
  readonly extensions: readonly Extension[];
}

const knownAnnotations = ['description', 'extensions', 'id', 'max_lifetime', 'reason'];

/** The id (null when left out) and the limits, or the sentence that says what is wrong. */
export function readAnnotations(
  annotations: Readonly<Record<string, string | null>>,
  policy: { effect: 'permit' | 'forbid'; mayBeSsh: boolean },
): { id: string | null; limits: Limits } | { fault: string; name: string } {
  for (const name of Object.keys(annotations)) {
    if (!knownAnnotations.includes(name)) {
      return { name, fault: `unknown annotation @${name}.${suggest(name, knownAnnotations)}` };
    }
  }
  const bare = Object.keys(annotations).find((name) => annotations[name] === null);
  if (bare !== undefined) return { name: bare, fault: `@${bare} has no value; write @${bare}("…").` };
  const id = annotations['id'] ?? undefined;
  const lifetime = annotations['max_lifetime'] ?? undefined;
  const extensions = annotations['extensions'] ?? undefined;
  if (id !== undefined && !isPolicyId(id)) {
    return { name: 'id', fault: `@id("${id}"): an id is letters, digits, ".", "_" and "-", at most 64.` };
  }
  for (const [name, value] of Object.entries({ max_lifetime: lifetime, extensions })) {
    if (value !== undefined && policy.effect === 'forbid') {
      return { name, fault: `@${name} limits nothing on a forbid; write it on the permit.` };
    }
  }
  const seconds = lifetime === undefined ? lifetimeBounds.default : parseLifetime(lifetime);
  if (seconds === null) {
    return {
      name: 'max_lifetime',
      fault: `@max_lifetime("${lifetime}"): write seconds, minutes or one hour, like "900s", "15m", "1h" (30s to 1h).`,
    };
  }
  if (extensions !== undefined && !policy.mayBeSsh) {
    return { name: 'extensions', fault: '@extensions applies to Action::"ssh" only; leave it out here.' };
  }
  const granted = extensions === undefined ? [] : readExtensions(extensions);
  if ('fault' in granted) return { name: 'extensions', fault: granted.fault };
  return { id: id ?? null, limits: { maxLifetimeSeconds: seconds, extensions: granted } };
}

function readExtensions(text: string): Extension[] | { fault: string } {
  const granted: Extension[] = [];
  for (const name of text.split(/, | /)) {
    const known = knownExtensions.find((each) => each === name);
    if (known === undefined) {
      const hint = suggest(name, knownExtensions) || ` Known are ${knownExtensions.join(', ')}.`;
      return { fault: `@extensions: unknown extension "${name}".${hint}` };
    }
    if (granted.includes(known)) return { fault: `@extensions names ${known} twice.` };
    granted.push(known);
  }
  return granted.sort();
}
