import { expect, test } from '@jest/globals';
import { otherAuthority } from '../src/personal-logins.ts';

const codes = (settings: Record<string, string>) =>
  otherAuthority('ada', new Map(Object.entries(settings).map(([name, value]) => [name, [value]]))).map(
    ({ code }) => code,
  );

test('a personal login that other certificates enter, or that no key enters, is left to its operator', () => {
  expect(codes({ pubkeyauthentication: 'yes', trustedusercakeys: 'none' })).toEqual([]);
  expect(codes({ pubkeyauthentication: 'yes', trustedusercakeys: '/etc/ssh/ca.pub' })).toEqual([
    'personal-login-ca',
  ]);
  expect(codes({ pubkeyauthentication: 'no', trustedusercakeys: 'none' })).toEqual(['personal-login-keys']);
});
