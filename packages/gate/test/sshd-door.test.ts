import { describe, expect, it } from '@jest/globals';
import { type Forebear, readForebear, requireSshd, takeCertificate } from '../src/sshd-door.ts';
import { codeOf } from './refusal.ts';

type Descent = readonly [program: string, uid: number, isRootOwned?: boolean];

/** A line of descent, the parent first. */
const line = (...forebears: readonly Descent[]) => {
  const known = forebears.map(
    ([program, uid, isRootOwned = true], index): Forebear => ({
      pid: index + 1,
      parent: index + 2,
      uid,
      program,
      isRootOwned,
    }),
  );
  return codeOf(() => requireSshd(1, (pid) => known[pid - 1]));
};
const SUDO = ['/usr/bin/sudo', 0] as const;
const LOGIN = ['/usr/sbin/sshd', 998] as const;
const SSHD = ['/usr/sbin/sshd', 0] as const;
const INIT = ['/usr/lib/systemd/systemd', 0] as const;

describe('the door of sshd', () => {
  it('is open to who descends from an sshd that runs as root', () => {
    expect(line(SUDO, LOGIN, SSHD, INIT)).toBe('accepted');
    expect(line(SUDO, SUDO, LOGIN, SSHD, INIT)).toBe('accepted');
    expect(line(SUDO, ['/usr/lib/openssh/sshd-session', 998], ['/usr/lib/openssh/sshd-session', 0])).toBe(
      'accepted',
    );
  });

  const shutTo: readonly { readonly whom: string; readonly forebears: readonly Descent[] }[] = [
    { whom: 'cron', forebears: [SUDO, ['/bin/dash', 998], ['/usr/sbin/cron', 0], INIT] },
    { whom: 'a shell of the login under sshd', forebears: [SUDO, ['/bin/bash', 998], LOGIN, SSHD] },
    { whom: 'a program that calls itself sshd', forebears: [SUDO, ['/tmp/sshd', 998, false], INIT] },
    {
      whom: 'an sshd that the login started',
      forebears: [SUDO, LOGIN, ['/bin/bash', 998], LOGIN, SSHD],
    },
    { whom: 'an sshd that the login started and that lost its parent', forebears: [SUDO, LOGIN, INIT] },
    { whom: 'root itself', forebears: [['/bin/bash', 0], LOGIN, SSHD] },
    { whom: 'nobody', forebears: [] },
    { whom: 'too many sudo', forebears: [SUDO, SUDO, SUDO, LOGIN, SSHD] },
  ];
  it.each(shutTo)('G5: is shut to $whom', ({ forebears }) => {
    expect(line(...forebears)).toBe('not-from-sshd');
  });

  it('G5: is shut to this very test', () => {
    expect(codeOf(() => requireSshd(process.ppid))).toBe('not-from-sshd');
    expect(readForebear(process.pid)).toMatchObject({
      pid: process.pid,
      parent: process.ppid,
      uid: process.getuid?.(),
    });
    expect(readForebear(2 ** 30)).toBeUndefined();
  });

  it('takes the certificate out of the environment', () => {
    const environment = { BEACON_CERTIFICATE: 'AAEC', OTHER: 'x' };
    expect(takeCertificate(environment)).toEqual(Buffer.from([0, 1, 2]));
    expect(environment).toEqual({ OTHER: 'x' });
  });

  it.each(['', 'A B', 'AAAA\n', 'AA-_', 'A'.repeat(500_000)])('refuses what is no base64', (text) => {
    expect(codeOf(() => takeCertificate({ BEACON_CERTIFICATE: text }))).toBe('certificate-missing');
  });
});
