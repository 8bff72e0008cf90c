/**
 * The one error class of this package. A code says which rule refused; `kindOf` says which of the eight problem kinds
 * (DESIGN.md section 9) it crosses the wire as. Knows no HTTP status: that is in `problem.ts` alone.
 */
import type { ProblemKind } from '@beacon/protocol/problem';

/** Every code, with the kind that a caller over HTTP would see. */
const kinds = {
  /** A configuration file was refused. */
  configuration: 'internal',
  /** A file that holds a secret was refused: missing, too long, or readable by others. */
  'secret-file': 'internal',
  /** Another process owns the store. */
  'store-in-use': 'unavailable',
  /** The store was written by a newer program: trying again cannot help. */
  'store-newer': 'invalid',
  /** The store could not be read or written: full, locked, read-only, damaged. Nothing was written. */
  storage: 'unavailable',
  /** The group commit was closed. */
  closed: 'unavailable',
  /** A record is not what its hash says, or an entry cannot become a record. */
  record: 'internal',
  /** A sealed value does not open: wrong key, wrong associated data, or changed. */
  seal: 'internal',
  /** The address cannot be listened on, or must not be. */
  listen: 'internal',
  /** A folder cannot be made: there is something, or the draft of it. */
  'init-refused': 'conflict',
  /** The server of a configuration does not say in time that it is ready. */
  'not-ready': 'unavailable',
  /** A TLS certificate or its key cannot be used. */
  tls: 'internal',
  /** A route or a limit was defined wrongly. */
  definition: 'internal',
  'header-doubled': 'invalid',
  'header-malformed': 'invalid',
  'path-unknown': 'not-found',
  'path-malformed': 'invalid',
  'method-not-allowed': 'invalid',
  'query-malformed': 'invalid',
  'body-type': 'invalid',
  'body-too-long': 'invalid',
  'body-unexpected': 'invalid',
  'body-malformed': 'invalid',
  'too-many-requests': 'limited',
  'took-too-long': 'unavailable',
  /** A proof, token or session is missing or does not hold. */
  unauthenticated: 'unauthenticated',
} as const satisfies Record<string, ProblemKind>;

export type ServerErrorCode = keyof typeof kinds;

export interface ServerErrorOptions {
  readonly cause?: unknown;
  /** Headers that belong to the refusal over HTTP, such as `retry-after`. */
  readonly headers?: Readonly<Record<string, string>>;
}

export class ServerError extends Error {
  readonly code: ServerErrorCode;
  readonly headers: Readonly<Record<string, string>> | undefined;

  constructor(code: ServerErrorCode, message: string, options: ServerErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ServerError';
    this.code = code;
    this.headers = options.headers;
  }
}

/** The problem kind that a code crosses the wire as. */
export function kindOf(code: ServerErrorCode): ProblemKind {
  return kinds[code];
}
