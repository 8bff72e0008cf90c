import { expect, test } from '@jest/globals';
import { planHost } from '../src/plan.ts';
import { CRON_FILE, CRON_TEXT, findSchedule, type Schedule } from '../src/schedule.ts';

test('what calls sync is systemd, else cron, else the operator’s own', () => {
  expect(findSchedule({ systemd: true, cron: true })).toBe('systemd');
  expect(findSchedule({ systemd: false, cron: true })).toBe('cron');
  expect(findSchedule({ systemd: false, cron: false })).toBe('operator');
});

test.each<[Schedule, string | undefined, boolean]>([
  ['cron', 'https://ca.example', true],
  ['cron', undefined, false],
  ['systemd', 'https://ca.example', false],
  ['operator', 'https://ca.example', false],
])('by %s, for the CA %s: a table of cron is planned: %s', (schedule, ca, isPlanned) => {
  const steps = planHost({
    wish: { host: 'a', login: 'beacon', rootKey: `ssh-ed25519 ${'A'.repeat(68)}`, pools: new Map(), ca },
    payload: { programs: [], compiled: [], units: [], archive: [] },
    trust: undefined,
    dropIn: { login: 'beacon', directives: [], personal: [], personalDirectives: [], exempt: [] },
    noShell: '/bin/false',
    schedule,
  });
  expect(steps.some((step) => 'path' in step && step.path === CRON_FILE)).toBe(isPlanned);
});

test('cron reads the table: no dot in its name, five times and a name on one line', () => {
  expect(CRON_FILE).not.toContain('.d/.');
  expect(CRON_FILE.split('/').at(-1)).not.toContain('.');
  expect(CRON_TEXT).toMatch(/\n(\* ){5}root [^\n]*\/usr\/lib\/beacon\/beacon host sync --quiet\n$/);
});
