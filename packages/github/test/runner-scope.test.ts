import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { formatScope, type GitHubError, parseScope } from '../src/index.ts';

describe('a scope', () => {
  it('is a repository or an organisation', () => {
    expect(parseScope('acme/site.js')).toEqual({ kind: 'repository', owner: 'acme', repository: 'site.js' });
    expect(parseScope('acme')).toEqual({ kind: 'organization', organization: 'acme' });
  });

  it.each([
    '',
    '/',
    'acme/',
    '/site',
    'a/b/c',
    'acme/.',
    'acme/..',
    '-acme',
    'ac me',
    'acme/s%2fx',
    'acme\n',
    'acme?x=1',
    'https://github.com/acme',
    `${'a'.repeat(40)}`,
    `a/${'b'.repeat(101)}`,
  ])('is not %j', (text) => {
    expect(() => parseScope(text)).toThrow(expect.objectContaining({ code: 'configuration' }));
  });

  it('reads back what it is written as, and everything else is refused', () => {
    const owner = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9-]{0,38}$/);
    const repository = fc.stringMatching(/^[A-Za-z0-9._-]{1,100}$/).filter((name) => !/^\.\.?$/.test(name));
    fc.assert(
      fc.property(owner, fc.option(repository), (name, inside) => {
        const text = inside === null ? name : `${name}/${inside}`;
        expect(formatScope(parseScope(text))).toBe(text);
      }),
    );
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string()), (text) => {
        try {
          expect(formatScope(parseScope(text))).toBe(text);
          expect(text).toMatch(/^[A-Za-z0-9-]+(?:\/[A-Za-z0-9._-]+)?$/);
        } catch (error) {
          expect((error as GitHubError).code).toBe('configuration');
        }
      }),
    );
  });
});
