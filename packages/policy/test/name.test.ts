import { unmapAddress } from '@beacon/policy';
import { isName } from '@beacon/protocol/name';
import { expect, test } from '@jest/globals';
import { isCommandName, isHostId, isLogin, isParameterName, isProviderId } from '../src/name.ts';

test.each([
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['192.0.2.7', '192.0.2.7'],
  ['2001:db8::1', '2001:db8::1'],
  ['::ffff:192.0.2.07', '::ffff:192.0.2.07'],
  ['::ffff:c000:207', '::ffff:c000:207'],
])('takes an IPv4 address out of its IPv6 form: %s', (given, expected) => {
  expect(unmapAddress(given)).toBe(expected);
});

test.each([
  ['host', isHostId],
  ['login', isLogin],
  ['command', isCommandName],
  ['parameter', isParameterName],
  ['person', isProviderId],
] as const)('a %s has the form here that it has in requests', (kind, isHere) => {
  const parts = ['a', 'Z', '0', '_', '-', '.', ':', 'é', '', 'x'.repeat(30), 'x'.repeat(31)];
  const words = parts.flatMap((a) => parts.flatMap((b) => parts.map((c) => `${a}${b}${c}`)));
  const numbers = ['github:1', 'github:01', 'a:9999999999999999999', 'a:99999999999999999999', ':1', 'A:1'];
  for (const word of [...words, ...numbers, 'x'.repeat(63), 'x'.repeat(64), 'x'.repeat(65)])
    expect([word, isHere(word)]).toEqual([word, isName(kind, word)]);
});
