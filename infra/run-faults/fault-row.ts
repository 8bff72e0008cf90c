/** What a row of the fault table is: a fault at a step, what a person would see of it, and what is left behind. */
import type { RunEvent, RunPhase } from '@beacon/client';
import type { FaultStage, RowStage } from './fault-stage.ts';

export interface FaultRow {
  /** Whose fault, and what it is. */
  readonly fault: string;
  /** At which step of a run. */
  readonly step: string;
  /** A part of what the person sees: of the reason of the run's end, of a refusal, or of a note. docs/runs.md has it too. */
  readonly sees: string;
  /** What to do about it, of the same text. */
  readonly todo: string;
  /** The phase in which the run ends; `refused`: there is no run. */
  readonly phase: RunPhase | 'refused';
  /** What is left behind, each as a part of how the run names it. */
  readonly left?: readonly string[];
  /** Runners that are at GitHub afterwards, in the end. None unless given. */
  readonly atGitHub?: number;
  /** Whether the host has a runner of that name afterwards. */
  readonly onHost?: boolean;
  /** It strikes all who ask at that time, so nothing else goes on meanwhile. */
  readonly isAlone?: boolean;
  /** Whether the host cannot be asked for its records afterwards. */
  readonly hostIsSilent?: boolean;
  readonly procedure?: 'runner.provision' | 'runner.retire';
  /** Instead of those of the row. */
  readonly params?: (row: RowStage) => Readonly<Record<string, string>>;
  /** Before the run is asked for. */
  readonly arrange?: (row: RowStage, at: FaultStage) => unknown;
  /** When `when` was seen of the run. */
  readonly act?: {
    readonly when: (event: RunEvent) => boolean;
    readonly doing: (row: RowStage, id: string) => unknown;
  };
  /** What the person presses then, one after the other, each when the run rests. */
  readonly press?: readonly ('look' | 'undo' | 'resume')[];
  /** When the run is over. */
  readonly mend?: (row: RowStage) => unknown;
  /** Whose run it is, where something befalls the person. */
  readonly person?: boolean;
}

/** A phase of the run. */
export const inPhase =
  (phase: RunPhase, times = 1) =>
  (event: RunEvent): boolean =>
    event.kind === 'phase' && event.data['phase'] === phase && --times === 0;

/** A step's outcome. */
export const step =
  (command: string, outcome: string) =>
  (event: RunEvent): boolean =>
    event.kind === 'step' && event.data['command'] === command && event.data['outcome'] === outcome;
