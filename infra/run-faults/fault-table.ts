/** The fault table: each fault at each step of a run where it can occur. docs/runs.md has a line for each row. */
import { CALLER_ROWS } from './caller-rows.ts';
import type { FaultRow } from './fault-row.ts';
import { HOST_ROWS } from './host-rows.ts';
import { PROVISION_ROWS } from './provision-rows.ts';
import { REMOVAL_ROWS } from './removal-rows.ts';

export const FAULT_ROWS: readonly FaultRow[] = [
  ...CALLER_ROWS,
  ...HOST_ROWS,
  ...PROVISION_ROWS,
  ...REMOVAL_ROWS,
];
