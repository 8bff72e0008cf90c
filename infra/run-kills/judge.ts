/**
 * What a run that somebody was killed in must still be: nothing done twice, nothing forgotten, nothing that goes on, and
 * records that agree. Pure: evidence in, findings out.
 */
import type { BrokerTrace, Run, RunEvent } from '@beacon/client';
import { parseRecord } from '@beacon/protocol/record';

export interface Evidence {
  readonly run: Run;
  /** `do PART NAME` and `undo PART NAME`, in the order in which the host did them. */
  readonly marks: readonly string[];
  readonly trace: BrokerTrace;
  /** What a watcher had seen when the kill came, and what the log says at the end. */
  readonly seen: readonly RunEvent[];
  readonly replay: readonly RunEvent[];
  /** Whether a gate still runs. */
  readonly gateRuns: boolean;
  readonly steps: number;
}

const OVER = ['succeeded', 'failed', 'cancelled', 'denied'];

/** What is wrong, each in a line; nothing when all is as it should be. */
export function judge(evidence: Evidence): readonly string[] {
  const { run, marks, trace, seen, replay, gateRuns, steps } = evidence;
  const findings: string[] = [];
  if (!OVER.includes(run.phase)) findings.push(`the run is ${run.phase} and does not end`);
  if (gateRuns) findings.push('a gate still runs');
  const net = new Map<string, number>();
  let dones = 0;
  for (const mark of marks) {
    const [word = '', part = ''] = mark.split(' ');
    if (word === 'do') {
      dones++;
      net.set(part, (net.get(part) ?? 0) + 1);
      if ((net.get(part) ?? 0) > 1) findings.push(`${part} was done again without having been taken back`);
    } else {
      // An undo of something that was not done is allowed: the gate cannot know how far a command came.
      net.set(part, 0);
    }
  }
  if (dones > steps * run.attempt) findings.push(`${dones} commands in ${run.attempt} attempts of ${steps}`);
  const standing = [...net.values()].filter((count) => count > 0).length;
  if (run.phase === 'succeeded' && standing !== steps)
    findings.push(`it succeeded, and ${standing} of ${steps} marks stand`);
  if (run.phase !== 'succeeded' && standing > 0 && run.left.length === 0)
    findings.push(`it ${run.phase}, ${standing} marks stand, and nothing is named as left`);
  const started = trace.lines.filter(
    ({ chain, line }) => chain === 'host' && parseRecord(line).kind === 'command-started',
  );
  if (!trace.missing.some(({ chain }) => chain === 'host') && dones > started.length)
    findings.push(`${dones} commands were done, and the host recorded ${started.length}`);
  for (const { code, text } of trace.findings) findings.push(`trace: ${code}: ${text}`);
  for (const { chain, reason } of trace.missing) findings.push(`trace: nothing of ${chain}: ${reason}`);
  for (const [at, event] of seen.entries()) {
    const again = replay[at];
    if (again === undefined || again.seq !== event.seq || again.kind !== event.kind)
      findings.push(`a watcher saw entry ${event.seq} ${event.kind}, which the log does not have`);
  }
  const last = replay.at(-1);
  if (OVER.includes(run.phase) && last?.kind !== 'over') findings.push('the log does not end with `over`');
  return findings;
}
