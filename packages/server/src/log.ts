/**
 * Structured logs, one JSON line each, through the redaction of `redaction.ts`. One line for every request: its route, the
 * path but for segments that could be secrets, no query, no header, no body; a refused or failed one with its code, and the cause of a failure under the id that the caller was told.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type DestinationStream, type Logger, pino } from 'pino';
import { pinoHttp } from 'pino-http';
import { redact, redactPath, redactText } from './redaction.ts';

export type Log = Logger;

export interface LogOptions {
  /** Which program speaks. */
  readonly name: string;
  readonly level: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'silent';
  /** Default standard output. */
  readonly destination?: DestinationStream;
}

export function createLog(options: LogOptions): Log {
  const settings = {
    name: options.name,
    level: options.level,
    base: { name: options.name },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: {
      level: (label: string) => ({ level: label }),
      log: redactFields,
    },
    // `err` must reach `formatters.log` as the error that it is.
    serializers: { err: (error: unknown) => error },
    // The whole line once more: its message, and what a child logger was bound to, pass no formatter.
    hooks: { streamWrite: redactText },
  };
  return options.destination === undefined ? pino(settings) : pino(settings, options.destination);
}

/** What the pipeline leaves on a response for its log line and its figures. */
export interface Outcome {
  /** The route's path as defined, or the mount's; never the path that was asked for. */
  route: string;
  id: string;
  ip: string;
  path: string;
  /** The code of a refusal. */
  code?: string;
  /** Who asked, as the limits know them. */
  caller?: string;
}

const outcomes = new WeakMap<ServerResponse, Outcome>();

/** Begins the notes on a response. */
export function beginOutcome(response: ServerResponse, outcome: Outcome): void {
  outcomes.set(response, outcome);
}

/** The notes on a response that {@link beginOutcome} began. */
export function outcomeOf(response: ServerResponse): Outcome | undefined {
  return outcomes.get(response);
}

export type RequestLog = (request: IncomingMessage, response: ServerResponse) => void;

/** Writes one line when a response has ended or its connection is lost. */
export function logRequests(log: Log): RequestLog {
  return pinoHttp({
    logger: log,
    genReqId: (_request, response) => outcomeOf(response)?.id ?? '',
    quietReqLogger: true,
    wrapSerializers: false,
    serializers: { req: () => undefined, res: () => undefined },
    customAttributeKeys: { responseTime: 'ms', reqId: 'id' },
    customProps: (request, response) => {
      // Asked for at the beginning too: what is said then would stand in the line twice.
      if (!response.writableEnded && !response.destroyed) return {};
      const outcome = outcomeOf(response);
      return {
        method: request.method,
        route: outcome?.route,
        path: redactPath(outcome?.path ?? ''),
        ip: outcome?.ip,
        status: response.statusCode,
        ...(outcome?.code === undefined ? {} : { code: outcome.code }),
        ...(outcome?.caller === undefined ? {} : { caller: outcome.caller }),
      };
    },
    customLogLevel: (_request, response) => (response.statusCode >= 500 ? 'warn' : 'info'),
    customSuccessMessage: () => 'request',
    customErrorMessage: () => 'request failed',
  });
}

/** Before serializers have dropped request and response: to walk through those costs more than all else of a line. */
function redactFields({ req: _req, res: _res, ...fields }: Record<string, unknown>): Record<string, unknown> {
  return redact(fields) as Record<string, unknown>;
}
