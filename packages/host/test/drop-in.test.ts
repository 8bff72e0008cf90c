import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatPublicKeyLine, generateKey } from '@beacon/ssh';
import { expect, test } from '@jest/globals';
import { type DropIn, dropInDirectives, formatDropIn, personalDirectives } from '../src/drop-in.ts';
import { findSudoDefect, formatSudoRule } from '../src/sudo-rule.ts';

const FILES = join(import.meta.dirname, '..', '..', 'gate', 'files');
const line = (type: Parameters<typeof generateKey>[0]) => formatPublicKeyLine(generateKey(type).publicKey);
const RULE = '    (root) NOPASSWD: /usr/lib/beacon/gate ""\n';
const LISTING = `Matching Defaults entries for beacon on build-01:
    env_reset

Runas and Command-specific defaults for beacon:
    Defaults!/usr/lib/beacon/gate env_reset, env_keep=BEACON_CERTIFICATE,
    !log_input, !log_output, !use_pty, !requiretty, closefrom=3, umask=0077,
    umask_override

User beacon may run the following commands on build-01:
${RULE}`;

const dropIn = (changes: Partial<DropIn>): DropIn => ({
  login: 'beacon',
  directives: dropInDirectives([line('ssh-ed25519')], []),
  personal: [],
  personalDirectives: personalDirectives([line('ssh-ed25519')]),
  exempt: [],
  ...changes,
});

test("writes the gate's own texts for the login beacon and an Ed25519 CA", () => {
  const [own, personal] = ['sshd_config', 'sshd_config_personal'].map((name) =>
    readFileSync(join(FILES, name), 'utf8'),
  );
  expect(formatDropIn(dropIn({}))).toBe(own);
  expect(formatDropIn(dropIn({ personal: ['deploy'] }))).toBe(`${own}${personal}`);
  expect(formatSudoRule('beacon')).toBe(readFileSync(join(FILES, 'sudoers'), 'utf8'));
});

test('I3: every line is inside of a Match, with whatever login, and but for addresses that sshd exempts globally', () => {
  const lines = formatDropIn(dropIn({ login: 'gate_1', personal: ['ops', 'deploy'] }))
    .trimEnd()
    .split('\n');
  expect(lines.filter((one) => !/^ {4}[A-Z][A-Za-z]+ \S/.test(one))).toEqual([
    'Match User gate_1',
    'Match User ops,deploy',
  ]);
  expect(lines[0]).toBe('Match User gate_1');
});

test('addresses that are exempt stand above every Match, for sshd takes them only there', () => {
  const text = formatDropIn(dropIn({ exempt: ['192.0.2.7', '2001:db8::/64'] }));
  expect(text).toMatch(/^PerSourcePenaltyExemptList 192\.0\.2\.7,2001:db8::\/64\nMatch User beacon\n/);
});

test('leaves out what an old sshd does not know only where it is optional', () => {
  const known = dropInDirectives([line('ssh-ed25519')], ['unusedconnectiontimeout', 'revokedkeys']);
  const keywords = known.map(({ keyword }) => keyword);
  expect(keywords).not.toContain('UnusedConnectionTimeout');
  expect(keywords).toContain('RevokedKeys');
});

test('accepts the signatures of the CA keys in the root and no others, and never SHA-1', () => {
  const keys = [line('ssh-ed25519'), line('ssh-ed25519'), line('ecdsa-sha2-nistp384')];
  const found = dropInDirectives(keys, []).find(({ keyword }) => keyword === 'CASignatureAlgorithms');
  expect(found?.value).toBe('ssh-ed25519,ecdsa-sha2-nistp384');
});

test("finds in sudo's own listing what is not the one rule", () => {
  expect(findSudoDefect(LISTING)).toBeUndefined();
  expect(findSudoDefect('User beacon is not allowed to run sudo on build-01.\n')).toMatch(/does not let/);
  expect(findSudoDefect(LISTING.replace(' ""', ''))).toMatch(/does not let/);
  expect(findSudoDefect(`${LISTING}    (ALL) NOPASSWD: ALL\n`)).toMatch(/lets the login do more: \(ALL\)/);
  const recorded = '    Defaults!/usr/lib/beacon/gate log_input\n';
  expect(findSudoDefect(LISTING.replace('\nUser ', `${recorded}\nUser `))).toMatch(
    /other settings.*log_input/,
  );
});
