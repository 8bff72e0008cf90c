/** What the packages below and the machine's files throw, in the words and kinds of this package, for the command line. */
import { readableFailure as readServerFailure } from '@beacon/server';
import { BrokerError } from './error.ts';

export function readableFailure(error: unknown): unknown {
  const known = readServerFailure(error);
  return known === undefined ? error : new BrokerError(known.code, known.message, { cause: error });
}
