/**
 * The portal's cookies (DESIGN.md section 3.1): a random id, by whose SHA-256 the store finds a row, and a random key,
 * without which what stands there cannot be opened. `__Host-` binds a cookie to this very server and to TLS; on plain
 * http, which is loopback alone, browsers take no such cookie, so it goes without.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createSealer, type Sealer } from '@beacon/server';

/** What a browser holds of one row. */
export interface Ticket {
  readonly id: string;
  readonly key: string;
}

export interface CookieForm {
  readonly name: string;
  readonly isSecure: boolean;
  /** A login comes back from another site, a session is never sent from one. */
  readonly sameSite: 'Lax' | 'Strict';
}

const VALUE = /^([A-Za-z0-9_-]{43})[.]([A-Za-z0-9_-]{43})$/;

export function cookieForm(publicUrl: string, name: string, sameSite: CookieForm['sameSite']): CookieForm {
  const isSecure = publicUrl.startsWith('https://');
  return { name: `${isSecure ? '__Host-' : ''}${name}`, isSecure, sameSite };
}

export function newTicket(): Ticket {
  return { id: randomBytes(32).toString('base64url'), key: randomBytes(32).toString('base64url') };
}

/** The value of `Set-Cookie`. Without a ticket, what makes the browser forget. */
export function formatCookie(form: CookieForm, ticket: Ticket | undefined, maxAgeSeconds = 0): string {
  const value = ticket === undefined ? '' : `${ticket.id}.${ticket.key}`;
  return [
    `${form.name}=${value}`,
    'Path=/',
    `Max-Age=${ticket === undefined ? 0 : Math.max(1, Math.floor(maxAgeSeconds))}`,
    'HttpOnly',
    `SameSite=${form.sameSite}`,
    ...(form.isSecure ? ['Secure'] : []),
  ].join('; ');
}

/** Reads the `Cookie` header; undefined when the cookie is not there, malformed, or there twice. */
export function readCookie(form: CookieForm, header: string | undefined): Ticket | undefined {
  const values = (header ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${form.name}=`));
  if (values.length !== 1) return undefined;
  const [, id, key] = VALUE.exec(values[0]?.slice(form.name.length + 1) ?? '') ?? [];
  return id === undefined || key === undefined ? undefined : { id, key };
}

/** Under what the store knows the row. */
export function rowOf({ id }: Ticket): string {
  return createHash('sha256').update(id).digest('hex');
}

/** Seals by the browser's half and the broker's: neither alone opens anything. */
export function sealerOf(ticket: Ticket, broker: Sealer): Sealer {
  const halves = Buffer.concat([broker.derive('portal'), Buffer.from(ticket.key, 'base64url')]);
  return createSealer(createHash('sha256').update('beacon-portal-1\0').update(halves).digest());
}
