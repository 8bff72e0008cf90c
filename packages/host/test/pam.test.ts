import { expect, test } from '@jest/globals';
import { readPam } from '../src/pam.ts';

const files = (texts: Readonly<Record<string, string>>) => ({
  text: (path: string) => texts[path],
  list: (path: string) =>
    Object.keys(texts).flatMap((name) => (name.startsWith(`${path}/`) ? [name.slice(path.length + 1)] : [])),
});
const RULES = '# who may\n-:ALL EXCEPT root:ALL\n';

test('the layout of Debian: a file that is included by a line of its own', () => {
  const found = readPam(
    files({
      '/etc/pam.d/sshd': '@include common-auth\naccount required pam_nologin.so\n@include common-account\n',
      '/etc/pam.d/common-account':
        'account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so\naccount required pam_access.so\n',
      '/etc/security/access.conf': RULES,
    }),
  );
  expect(found).toEqual({ accessRules: ['-:ALL EXCEPT root:ALL'], others: [] });
});

test('the layout of Red Hat: account lines that include a whole stack, and rules in a folder', () => {
  const found = readPam(
    files({
      '/etc/pam.d/sshd':
        'auth substack password-auth\naccount required pam_sepermit.so\naccount include password-auth\n',
      '/etc/pam.d/password-auth':
        'account required pam_access.so\naccount sufficient pam_succeed_if.so uid < 1000 quiet\naccount required pam_listfile.so onerr=fail item=group sense=allow file=/etc/ssh/groups\n',
      '/etc/security/access.conf': '# none\n',
      '/etc/security/access.d/10-site.conf': '+:wheel:ALL\n',
      '/etc/security/access.d/notes.txt': '-:ALL:ALL\n',
    }),
  );
  expect(found).toEqual({
    accessRules: ['+:wheel:ALL'],
    others: ['pam_listfile.so onerr=fail item=group sense=allow file=/etc/ssh/groups'],
  });
});

test('rules in a file that is named, a line that goes on, and a module by its path', () => {
  const found = readPam(
    files({
      '/etc/pam.d/sshd':
        'account required \\\n /lib/security/pam_access.so accessfile=/etc/ssh/access.conf\n',
      '/etc/ssh/access.conf': RULES,
    }),
  );
  expect(found.accessRules).toEqual(['-:ALL EXCEPT root:ALL']);
});

test('without PAM, with a comment, or with a stack that includes itself, nothing is asked', () => {
  expect(readPam(files({}))).toEqual({ accessRules: undefined, others: [] });
  expect(
    readPam(files({ '/etc/pam.d/sshd': '#account required pam_access.so\naccount include sshd\n' })),
  ).toEqual({
    accessRules: undefined,
    others: [],
  });
});
