import { expect, test } from '@jest/globals';
import { dropInDirectives } from '../src/drop-in.ts';
import { differences, findInclusion } from '../src/sshd.ts';
import { parsePool } from '../src/wish.ts';

test.each([
  ['Include /etc/ssh/sshd_config.d/*.conf\nPort 22\n', { kind: 'found', line: 1 }],
  ['Port 22\n\tinclude  sshd_config.d/*.conf\n', { kind: 'found', line: 2 }],
  ['Include=/etc/ssh/sshd_config.d/*.conf\n', { kind: 'found', line: 1 }],
  ['Include /etc/ssh/a.conf /etc/ssh/sshd_config.d/*.conf\n', { kind: 'found', line: 1 }],
  ['# Include /etc/ssh/sshd_config.d/*.conf\n', { kind: 'missing' }],
  ['Include /etc/ssh/sshd_config.d\n', { kind: 'missing' }],
  ['Include /etc/ssh/sshd_config.d/\n', { kind: 'missing' }],
  ['Include /etc/ssh/other.d/*.conf\n', { kind: 'missing' }],
  [
    'Match User x\nInclude /etc/ssh/sshd_config.d/*.conf\n',
    { kind: 'in-match', line: 2, match: 'Match User x' },
  ],
])('I1: finds where drop-ins are included: %j', (config, found) => {
  expect(findInclusion(config)).toEqual(found);
});

test('names a setting that is not in force', () => {
  const directives = dropInDirectives([], []).filter(({ keyword }) =>
    /^(ForceCommand|MaxSessions)$/.test(keyword),
  );
  const settings = new Map([['maxsessions', ['10']]]);
  expect(differences(settings, directives)).toEqual([{ keyword: 'MaxSessions', expected: '1', found: '10' }]);
});

test.each(['beacon-r', 'beacon-r=0', 'beacon-r=101', 'Beacon=1', 'a b=1', 'x=1;id', '=3', 'r=01'])(
  'refuses %j for a pool',
  (text) => {
    expect(() => parsePool(text)).toThrow(expect.objectContaining({ code: 'usage' }));
  },
);
