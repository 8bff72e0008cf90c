/** SELinux's labels of what Beacon has laid out, compared with the machine's own policy by the machine's own program. */
import { DROP_IN } from './drop-in.ts';
import type { Facts } from './facts.ts';
import { defect, type Finding } from './finding.ts';
import type { Machine } from './machine.ts';
import { GATE_STATE, PROGRAM_FOLDER } from './plan.ts';
import { SUDO_RULE } from './sudo-rule.ts';

const PATHS = [PROGRAM_FOLDER, '/etc/beacon', GATE_STATE, '/var/lib/beacon-login', SUDO_RULE, DROP_IN];
const MOST_NAMED = 3;

export function checkLabels(machine: Machine, { selinux, programs, live }: Facts): Finding[] {
  if (!live || selinux === 'off' || !programs.has('restorecon')) return [];
  // -n changes nothing, -v names each that would be changed.
  const { status, stdout } = machine.run(['restorecon', '-n', '-v', '-R', ...PATHS]);
  const wrong = stdout.split('\n').flatMap((line) => /^Would relabel (\S+) from /.exec(line)?.[1] ?? []);
  if (status !== 0 || wrong.length === 0) return [];
  const named = wrong.slice(0, MOST_NAMED).join(', ');
  return [
    defect(
      'selinux-label',
      wrong[0] ?? '',
      `the policy wants another label on ${named}${wrong.length > MOST_NAMED ? ' and more' : ''}`,
      `restorecon -R -v ${PATHS.join(' ')}`,
    ),
  ];
}
