import { unmapAddress } from '@beacon/policy';
import { expect, test } from '@jest/globals';

test.each([
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['192.0.2.7', '192.0.2.7'],
  ['2001:db8::1', '2001:db8::1'],
  ['::ffff:192.0.2.07', '::ffff:192.0.2.07'],
  ['::ffff:c000:207', '::ffff:c000:207'],
])('takes an IPv4 address out of its IPv6 form: %s', (given, expected) => {
  expect(unmapAddress(given)).toBe(expected);
});
