/** The main job, as a newcomer sees it: `scripts/demo --once`, with the build that the tests stand on. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { whyNoLab } from '../lab/possible.ts';

const root = join(import.meta.dirname, '..', '..');
const why = whyNoLab();

test('from a login to a command on a real host, and every refusal beside the control that works', () => {
  const demo = spawnSync(join(root, 'scripts', 'demo'), ['--once'], { encoding: 'utf8', timeout: 240_000 });
  const last = demo.stdout.trim().split('\n').at(-1) ?? '';
  const shown = { ok: true, control: true };
  expect({ talk: demo.status === 0 ? '' : demo.stderr, report: JSON.parse(last) as unknown }).toEqual({
    talk: '',
    report: {
      demo: 'once',
      ok: true,
      checks: {
        command_runs: shown,
        other_host: shown,
        changed_byte: shown,
        expired: shown,
        revoked: shown,
        broker_login: shown,
        ...(why === undefined ? { broker_provisions: shown, broker_retires: shown } : {}),
        broker_runs: shown,
        broker_trace: shown,
        gate_runs: shown,
        gate_other_command: shown,
        gate_other_arguments: shown,
        gate_second_use: shown,
        gate_other_host: shown,
        gate_cut_connection: shown,
        outside_team: shown,
        session_ended: shown,
      },
      left_out: why === undefined ? [] : [expect.stringContaining('runners')],
    },
  });
}, 300_000);
