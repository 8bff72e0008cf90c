import { formatPublicKeyLine, generateKey } from '@beacon/ssh';
import { afterEach, expect, test } from '@jest/globals';
import { makeAccount } from '../src/accounts.ts';
import { checkLabels } from '../src/check-labels.ts';
import { lookAt } from '../src/facts.ts';
import { findObstacles } from '../src/obstacles.ts';
import { findNoShell } from '../src/prepare.ts';
import { type MachineTree, openTree, type TreeForm } from './machine-tree.ts';
import { SYSTEMS } from './systems.ts';

const userCa = [formatPublicKeyLine(generateKey('ssh-ed25519').publicKey)];
let tree: MachineTree | undefined;
const open = (form: TreeForm): MachineTree => {
  tree = openTree(form);
  return tree;
};
afterEach(() => tree?.close());

test.each(SYSTEMS)('I8: on %s init begins, or says why not', (_name, form, expected) => {
  const facts = lookAt(open(form));
  const found = findObstacles(facts, { login: 'beacon', userCa, settings: undefined });
  expect(found.map(({ kind, code, place }) => `${kind} ${code} ${place}`)).toEqual(expected);
  for (const { remedy } of found) expect(remedy).toMatch(/\S/);
});

const [, debian] = SYSTEMS.find(([name]) => name === 'Debian 12') ?? [];
const [, alpine] = SYSTEMS.find(([name]) => name === 'Alpine 3.20') ?? [];
if (debian === undefined || alpine === undefined) throw new Error('two systems are missing');

test.each([
  ['the Include is missing', '', 'include-missing /etc/ssh/sshd_config'],
  ['the Include comes late', 'PasswordAuthentication no\nInclude sshd_config.d/*.conf\n', undefined],
  [
    'the Include comes after a Match',
    'Match User x\nX11Forwarding no\nInclude /etc/ssh/sshd_config.d/*.conf\n',
    'include-in-match /etc/ssh/sshd_config, line 3',
  ],
])('I1: %s', (_what, config, expected) => {
  const files = { ...debian.files, '/etc/ssh/sshd_config': config };
  const facts = lookAt(open({ ...debian, files }));
  const found = findObstacles(facts, { login: 'beacon', userCa, settings: undefined });
  expect(found.map(({ code, place }) => `${code} ${place}`)).toEqual(
    expected === undefined ? [] : [expected],
  );
});

test('accounts are made by the programs that the system has', () => {
  const account = { name: 'beacon-setup', home: '/nonexistent', shell: '/sbin/nologin' };
  const shadow = open(debian);
  makeAccount(shadow, account);
  expect(shadow.calls[0]).toMatch(
    /^useradd --system --user-group --no-create-home --home-dir \/nonexistent --shell/,
  );
  expect(findNoShell(shadow)).toBe('/usr/sbin/nologin');
  shadow.close();
  const busybox = open(alpine);
  makeAccount(busybox, account);
  expect(busybox.calls.slice(0, 2)).toEqual([
    'addgroup -S beacon-setup',
    'adduser -S -D -H -G beacon-setup -h /nonexistent -s /sbin/nologin beacon-setup',
  ]);
  expect(findNoShell(busybox)).toBe('/bin/false');
});

test('check names files whose label is not the one of the policy of SELinux', () => {
  const machine = open(debian);
  const facts = { ...lookAt(machine), live: true, selinux: 'enforcing' as const };
  const programs = new Map([...facts.programs, ['restorecon', '/usr/sbin/restorecon'] as const]);
  const stdout =
    'Would relabel /usr/lib/beacon/gate from unconfined_u:object_r:user_home_t:s0 to system_u:object_r:lib_t:s0\n';
  const answering = { ...machine, run: () => ({ status: 0, stdout, stderr: '' }) };
  expect(checkLabels(answering, { ...facts, programs })).toEqual([
    expect.objectContaining({ code: 'selinux-label', place: '/usr/lib/beacon/gate' }),
  ]);
  const silent = { ...machine, run: () => ({ status: 0, stdout: '', stderr: '' }) };
  expect(checkLabels(silent, { ...facts, programs })).toEqual([]);
  expect(checkLabels(answering, { ...facts, programs, selinux: 'off' })).toEqual([]);
});
