/** The portal's cookie as text: what a browser is told of it, and what is taken for one. */
import { expect, it } from '@jest/globals';
import { cookieForm, formatCookie, newTicket, readCookie } from '../src/portal-cookie.ts';

const form = cookieForm('https://broker.example.org', 'beacon', 'Strict');
const ticket = newTicket();
const value = `${ticket.id}.${ticket.key}`;

it('W5: where there is TLS the cookie is of this very server and of TLS alone', () => {
  expect(formatCookie(form, ticket, 60)).toBe(
    `__Host-beacon=${value}; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure`,
  );
  expect(formatCookie(form, undefined)).toBe(
    '__Host-beacon=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure',
  );
  expect(readCookie(form, `other=1; __Host-beacon=${value}`)).toEqual(ticket);
});

it.each([
  ['a neighbour of the same domain could have set', `beacon=${value}`],
  ['stands there twice', `__Host-beacon=${value}; __Host-beacon=${value}`],
  ['is of another name that begins like it', `__Host-beacon-login=${value}`],
  ['has half of it', `__Host-beacon=${ticket.id}.`],
  ['has more', `__Host-beacon=${value}.x`],
])('W5: takes no cookie that %s', (_, header) => {
  expect(readCookie(form, header)).toBeUndefined();
});
