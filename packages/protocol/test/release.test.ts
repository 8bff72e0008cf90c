import { isReleaseNear } from '@beacon/protocol/release';
import { expect, test } from '@jest/globals';

test.each([
  ['0.1.0', '0.1.0'],
  ['0.1.0', '0.1.9'],
  ['0.1.9', '0.2.0'],
  ['1.9.0', '1.10.3'],
])('%s and %s work together, whichever is the older', (one, other) => {
  expect([isReleaseNear(one, other), isReleaseNear(other, one)]).toEqual([true, true]);
});

test.each([
  ['0.1.0', '0.3.0'],
  ['0.9.0', '1.0.0'],
  ['1.2.0', '2.2.0'],
  ['1.2.0', '1.2'],
  ['1.2.0', 'v1.2.0'],
  ['1.2.0', '1.02.0'],
  ['1.2.0', ''],
  ['1.2.0', '1.2.0\n'],
  ['1.2.0', '1.100000.0'],
])('%s and %j do not', (one, other) => {
  expect([isReleaseNear(one, other), isReleaseNear(other, one)]).toEqual([false, false]);
});
