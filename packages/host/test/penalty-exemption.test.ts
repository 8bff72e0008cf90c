import { expect, test } from '@jest/globals';
import { decideExemption, missingExemptions, parseBrokerAddress } from '../src/penalty-exemption.ts';

const BROKER = ['192.0.2.7', '2001:db8::/64'];
const sshd = (list?: string) =>
  new Map(list === undefined ? [['maxsessions', ['10']]] : [['persourcepenaltyexemptlist', [list]]]);
const codes = (found: ReturnType<typeof decideExemption>) => ({
  exempt: found.exempt,
  notes: found.findings.map(({ kind, place }) => `${kind} ${place}`),
});

test('an sshd before 9.8 has no penalties: nothing is set, and nothing is said', () => {
  expect(codes(decideExemption(sshd(), BROKER))).toEqual({ exempt: [], notes: [] });
  expect(codes(decideExemption(undefined, BROKER))).toEqual({ exempt: [], notes: [] });
});

test('an sshd that has them, and no list, is given the addresses of the broker, and the plan says that it is global', () => {
  const found = decideExemption(sshd('none'), BROKER);
  expect(codes(found)).toEqual({ exempt: BROKER, notes: ['note PerSourcePenaltyExemptList'] });
  expect(found.findings[0]?.what).toContain('for all logins');
});

test('without an address of the broker it is said that sshd may refuse it', () => {
  expect(codes(decideExemption(sshd('none'), []))).toEqual({ exempt: [], notes: ['note sshd'] });
});

test('a list of the machine’s own is left alone; what it lacks is named', () => {
  expect(codes(decideExemption(sshd('198.51.100.1,192.0.2.7,2001:db8::/64'), BROKER))).toEqual({
    exempt: [],
    notes: [],
  });
  const found = decideExemption(sshd('198.51.100.1,192.0.2.7'), BROKER);
  expect(codes(found)).toEqual({ exempt: [], notes: ['note PerSourcePenaltyExemptList'] });
  expect(found.findings[0]?.remedy).toContain('2001:db8::/64');
});

test('after an upgrade of sshd to one that has penalties, check says to run init again', () => {
  expect(missingExemptions(sshd('none'), BROKER)[0]?.remedy).toBe('run beacon host init again');
  expect(missingExemptions(sshd(), BROKER)).toEqual([]);
});

test.each(['192.0.2.7', '10.0.0.0/8', '::1', '2001:db8::/64'])('%s is an address of a broker', (text) => {
  expect(parseBrokerAddress(text)).toBe(text);
});
test.each([
  '',
  'broker.example',
  '192.0.2.7/33',
  '192.0.2.7/08',
  '192.0.2.7/',
  '1.2.3.4/8/8',
  'fe80::1%eth0',
  '1.2.3.4,5.6.7.8',
  '*',
])('%j is none', (text) => {
  expect(() => parseBrokerAddress(text)).toThrow(expect.objectContaining({ code: 'usage' }));
});
