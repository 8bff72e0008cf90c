import { describe, expect, test } from '@jest/globals';
import { isSourceAddressIn, isSourceAddressList } from '../src/source-address.ts';

describe('source-address', () => {
  test.each([
    ['192.0.2.1', true],
    ['192.0.2.0/24,2001:db8::/32', true],
    ['0.0.0.0/0', true],
    ['::/0', true],
    ['::ffff:192.0.2.1', true],
    ['', false],
    ['192.0.2.0/24,', false],
    ['192.0.2.1/24', false],
    ['192.0.2.0/33', false],
    ['192.0.2.0/024', false],
    ['192.0.2.0/', false],
    ['192.0.2.0/24/24', false],
    ['!192.0.2.0/24', false],
    ['192.0.2.*', false],
    ['192.0.2.0/24 ', false],
    ['0x7f.1', false],
    ['192.0.2.01', false],
    ['fe80::1%eth0', false],
    ['example.com', false],
  ])('P3: takes %j for a list: %j', (list, expected) => {
    expect(isSourceAddressList(list)).toBe(expected);
  });

  test.each([
    ['192.0.2.77', '192.0.2.0/24', true],
    ['192.0.3.77', '192.0.2.0/24', false],
    ['192.0.2.77', '198.51.100.0/24,192.0.2.77', true],
    ['::ffff:192.0.2.77', '192.0.2.0/24', true],
    ['192.0.2.77', '::/0', false],
    ['2001:db8::1', '2001:db8::/32', true],
    ['2001:db9::1', '2001:db8::/32', false],
    ['2001:0db8:0:0:0:0:192.0.2.1', '2001:db8::c000:201', true],
    ['192.0.2.77', 'nonsense', false],
    ['nonsense', '0.0.0.0/0', false],
  ])('%s lies in %s: %j', (address, list, expected) => {
    expect(isSourceAddressIn(address, list)).toBe(expected);
  });
});
