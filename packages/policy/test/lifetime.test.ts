import { formatLifetime, parseLifetime } from '@beacon/policy';
import { expect, test } from '@jest/globals';

test.each([
  ['30s', 30],
  ['900s', 900],
  ['15m', 900],
  ['60m', 3600],
  ['1h', 3600],
  ['3600s', 3600],
  ['29s', null],
  ['3601s', null],
  ['61m', null],
  ['2h', null],
  ['0m', null],
  ['015m', null],
  ['15', null],
  ['15M', null],
  ['15 m', null],
  ['1.5h', null],
  ['-15m', null],
  ['15m ', null],
  ['', null],
  ['1h30m', null],
])('reads the lifetime "%s" as %s', (text, seconds) => {
  expect(parseLifetime(text)).toBe(seconds);
});

test.each([
  [3600, '1h'],
  [900, '15m'],
  [90, '90s'],
  [61, '61s'],
])('writes %s seconds as %s', (seconds, text) => {
  expect(formatLifetime(seconds)).toBe(text);
});
