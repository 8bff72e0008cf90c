/** The fault table: each fault at each step of a run where it can occur. docs/runs.md has a line for each row. */
import type { FaultRow } from './fault-row.ts';
import { GITHUB_ROWS } from './github-rows.ts';
import { OTHER_ROWS } from './other-rows.ts';

export const FAULT_ROWS: readonly FaultRow[] = [...OTHER_ROWS, ...GITHUB_ROWS];
