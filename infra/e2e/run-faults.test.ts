/**
 * The fault table: what happens to a run when GitHub, the CA, the host or the person fails, at each step where they can.
 * Each row has a run of its own against real processes and a lab host, and afterwards looks at the stand-in, at the host and
 * at the joined records. Rows whose fault strikes one run alone go on at once.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { whyNoLab } from '../lab/possible.ts';
import type { FaultRow } from '../run-faults/fault-row.ts';
import { type FaultStage, openFaultStage, RUNNERS } from '../run-faults/fault-stage.ts';
import { FAULT_ROWS } from '../run-faults/fault-table.ts';
import { type Tried, tryRow } from '../run-faults/try-row.ts';

const GUIDE = readFileSync(join(import.meta.dirname, '../../docs/runs.md'), 'utf8');
const SECONDS = 1_000;

const title = (row: FaultRow): string => `${row.fault}, when ${row.step}`;

describe('the failure guide', () => {
  it.each(FAULT_ROWS.map((row) => [title(row), row] as const))('has the row: %s', (_, row) => {
    const lines = GUIDE.split('\n').filter((line) => line.startsWith('| '));
    const own = lines.filter((line) => line.includes(`| ${row.fault} | ${row.step} |`));
    expect(own).toHaveLength(1);
    expect(own[0]).toContain(row.sees);
  });
});

const why = whyNoLab();
(why === undefined ? describe : describe.skip)('a run that meets a fault', () => {
  const tried = new Map<FaultRow, PromiseWithResolvers<Tried>>();
  let at: FaultStage;
  let done: Promise<void>;

  beforeAll(async () => {
    at = await openFaultStage();
    const each = async (rows: FaultRow[]): Promise<void> => {
      for (let row = rows.shift(); row !== undefined; row = rows.shift()) {
        const result = tryRow(at, row, `row-${FAULT_ROWS.indexOf(row)}`);
        tried.get(row)?.resolve(result);
        await result.catch(() => undefined);
      }
    };
    for (const row of FAULT_ROWS) tried.set(row, Promise.withResolvers());
    for (const { promise } of tried.values()) promise.catch(() => undefined);
    const together = FAULT_ROWS.filter((row) => row.isAlone !== true);
    done = Promise.all(Array.from({ length: RUNNERS }, () => each(together))).then(() =>
      each(FAULT_ROWS.filter((row) => row.isAlone === true)),
    );
  }, 180 * SECONDS);

  afterAll(async () => {
    await done;
    await at.opened.close();
  }, 120 * SECONDS);

  it.each(FAULT_ROWS.map((row) => [title(row), row] as const))(
    '%s',
    async (_, row) => {
      const { findings, seen } = (await tried.get(row)?.promise) ?? {
        findings: ['it was not tried'],
        seen: [],
      };
      expect({ findings, seen: findings.length === 0 ? [] : seen }).toEqual({ findings: [], seen: [] });
    },
    300 * SECONDS,
  );

  it(
    'has left nothing on the host: no runner, no file of one, no unit',
    async () => {
      await done;
      const left = await at.opened.host.script(
        'cat /var/lib/beacon/pools/* 2>/dev/null || :; ' +
          'for at in 1 2 3 4 5 6; do find /opt/beacon/runners -user "beacon-r-$at"; done; ' +
          "systemctl list-units --plain --no-legend --state=active 'beacon-runner@*'; " +
          'ls /etc/systemd/system/multi-user.target.wants | grep beacon-runner@ || :',
      );
      expect(left).toBe('');
    },
    300 * SECONDS,
  );
});
