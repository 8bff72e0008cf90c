import { didYouMean, nearest } from '@beacon/protocol/nearest';
import { describe, expect, it } from '@jest/globals';

const known = ['host', 'hosts', 'login', 'commands', 'lifetime_seconds'];

describe('the nearest known name', () => {
  for (const [written, meant] of [
    ['hots', 'hosts'],
    ['hst', 'host'],
    ['hostss', 'hosts'],
    ['Login', 'login'],
    ['comands', 'commands'],
    ['command', 'commands'],
    ['lifetime-seconds', 'lifetime_seconds'],
    ['lifetimeSeconds', 'lifetime_seconds'],
    ['host', 'host'],
  ] as const) {
    it(`is ${meant} for ${written}`, () => {
      expect(nearest(written, known)).toBe(meant);
    });
  }

  for (const written of ['', 'xyz', 'password', 'public_key', 'h'.repeat(1_000_000)]) {
    it(`is none for ${JSON.stringify(written.slice(0, 20))} of ${written.length} characters`, () => {
      expect(nearest(written, known)).toBeUndefined();
      expect(didYouMean(written, known)).toBe('');
    });
  }

  it('is the first of two that are equally near', () => {
    expect(nearest('ba', ['bb', 'bc'])).toBe('bb');
    expect(nearest('ba', ['bc', 'bb'])).toBe('bc');
  });

  it('is none where nothing is known', () => {
    expect(nearest('host', [])).toBeUndefined();
  });

  it('ends a refusal with a question', () => {
    expect(didYouMean('logn', known)).toBe(' (did you mean "login"?)');
  });
});
