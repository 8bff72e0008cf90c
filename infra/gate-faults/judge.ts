/**
 * What a run must have left on its host, whatever broke it: judged by the host's own records and by what the commands
 * themselves wrote, never by what the gate said to its client.
 */
import { FIRST_PREVIOUS, hashRecord, parseRecord, type RecordFields } from '@beacon/protocol/record';

export interface Evidence {
  /** The records of the run's grant, oldest first. */
  readonly records: readonly RecordFields[];
  /** Lines `make a`, `unmake a` in the order in which the commands wrote them. */
  readonly trace: readonly string[];
  /** Processes of the run that still run. */
  readonly processes: number;
  /** Whether the client was told that the session ended in order, after which what did not fail is kept. */
  readonly wasToldKept: boolean;
}

/** What does not hold; empty when all does. */
export function judge({ records, trace, processes, wasToldKept }: Evidence): string[] {
  const found: string[] = [];
  const expect = (holds: boolean, otherwise: string): void => {
    if (!holds) found.push(otherwise);
  };
  const of = (...kinds: string[]) => records.filter(({ kind }) => kinds.includes(kind));
  const index = ({ facts }: RecordFields): number => Number(facts?.['index']);
  expect(processes === 0, `${processes} processes run on`);
  if (records.length === 0) {
    expect(trace.length === 0, `there is no record, but ${trace.join(', ')} was done`);
    return found;
  }
  const closed = of('session-closed');
  const started = of('command-started');
  // A gate that is killed before anything has started leaves nothing that somebody would have to settle.
  const isUnstarted = started.length === 0 && closed.length === 0;
  expect(
    isUnstarted || (closed.length === 1 && records.at(-1)?.kind === 'session-closed'),
    'it was not closed once and last',
  );
  const ended = new Set(of('command-ended').map(index));
  expect(
    started.every((record) => ended.has(index(record))),
    'a command has a beginning and no end',
  );
  expect(of('command-ended').length === started.length, 'a command has an end too many');
  expect(
    trace.filter((line) => line.startsWith('make ')).length <= started.length,
    'a command ran without a record',
  );
  const undone = unrepeated(of('undo-ended', 'undo-left').map(index));
  const hasFailed = of('command-ended').some(
    ({ facts }) => facts?.['why'] !== 'ended' || facts['code'] !== 0,
  );
  const isKept = closed[0]?.facts?.['why'] === 'ended' && !hasFailed;
  if (wasToldKept && !hasFailed) expect(isKept, 'the client was told that it is kept, and it is not');
  if (isKept) {
    expect(
      undone.length === 0 && !trace.some((line) => line.startsWith('unmake')),
      'it was undone though kept',
    );
    return found;
  }
  expect(isDescending(undone), `undone in the order ${undone.join(', ')}, not newest first`);
  for (const record of started) {
    if (record.facts?.['undo'] === null) continue;
    expect(
      undone.includes(index(record)),
      `${String(record.facts?.['command'])} was neither undone nor named`,
    );
  }
  for (const line of trace.filter((one) => one.startsWith('make '))) {
    const undo = `un${line}`;
    expect(
      trace.lastIndexOf(undo) > trace.lastIndexOf(line),
      `${line} was done, and not taken back after it`,
    );
  }
  return found;
}

/** Whether the lines are one unbroken chain from its first record. */
export function isWholeChain(lines: readonly string[]): boolean {
  let previous = FIRST_PREVIOUS;
  return lines.every((line, at) => {
    const { seq, prev } = parseRecord(line);
    const holds = seq === at + 1 && prev === previous;
    previous = hashRecord(line);
    return holds;
  });
}

/** An undo that was broken off is called once more: that is one undo. */
function unrepeated(values: readonly number[]): number[] {
  return values.filter((value, at) => value !== values[at - 1]);
}

function isDescending(values: readonly number[]): boolean {
  return values.every((value, at) => at === 0 || value < (values[at - 1] ?? 0));
}
