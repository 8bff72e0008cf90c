/** What the commands' options have in common. */
import { InvalidArgumentError } from 'commander';

/** Sets the exit status of what was called. */
export type Finish = (status: number) => void;

export interface Json {
  readonly json: boolean;
}

export const JSON_OPTION = ['--json', 'print JSON, one value a line', false] as const;

export const REASON_OPTION = [
  '--reason <text>',
  'one line that is kept in the record',
  'no reason given',
] as const;

/** Collects an option that may be repeated. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  if (value === '') throw new InvalidArgumentError('it is empty.');
  return [...before, value];
}
