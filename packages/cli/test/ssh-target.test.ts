import { describe, expect, it } from '@jest/globals';
import { chooseLogin, parseLifetime, parseSshTarget } from '../src/ssh-target.ts';

describe('what beacon ssh is pointed at', () => {
  it('is a host, and perhaps a login', () => {
    expect(parseSshTarget('build-01')).toEqual({ host: 'build-01' });
    expect(parseSshTarget('deploy@build-01')).toEqual({ host: 'build-01', login: 'deploy' });
  });

  it.each([
    '',
    '@',
    'x@',
    '@build-01',
    'A',
    'a b',
    'a,b',
    '-o',
    'build-01\n',
    'x@y@z',
    'root;id@a',
    '*',
    'é',
    'a'.repeat(64),
  ])('A2: refuses %p', (text) => {
    expect(() => parseSshTarget(text)).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  it.each([
    ['30', 30],
    ['90s', 90],
    ['15m', 900],
    ['1h', 3600],
    ['3600', 3600],
  ])('lives %s', (text, seconds) => {
    expect(parseLifetime(text)).toBe(seconds);
  });

  it.each(['', '0', '29', '3601', '61m', '2h', '-1m', '1.5h', '015m', '1e3', '15 m', '15M', 'NaN'])(
    'A4: refuses to live %p',
    (text) => {
      expect(() => parseLifetime(text)).toThrow(expect.objectContaining({ code: 'usage' }));
    },
  );

  it("asks for the host's only login, and never guesses", async () => {
    const withLogins = (logins: string[]) => ({
      host: async (id: string) => ({ id, state: 'enabled' as const, logins }),
    });
    expect(await chooseLogin(withLogins(['deploy']), { host: 'a' })).toBe('deploy');
    expect(await chooseLogin(withLogins([]), { host: 'a', login: 'root' })).toBe('root');
    const refused = { code: 'login-not-chosen' };
    await expect(chooseLogin(withLogins(['deploy', 'root']), { host: 'a' })).rejects.toMatchObject(refused);
    await expect(chooseLogin(withLogins([]), { host: 'a' })).rejects.toMatchObject(refused);
    await expect(chooseLogin(withLogins(['-oX']), { host: 'a' })).rejects.toMatchObject(refused);
  });
});
