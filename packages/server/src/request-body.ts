/**
 * The body of a request as its exact bytes: bounded, `application/json` alone, neither compressed nor of another
 * character set. What was signed and hashed by the caller is these bytes, so they are kept beside what is read of them.
 */
import type { IncomingMessage } from 'node:http';
import { parseStrictJsonBytes } from '@beacon/protocol/strict-json';
import { ServerError } from './error.ts';

const JSON_TYPE = /^application\/json(; ?charset=utf-8)?$/i;

/** Whether bytes follow the headers (RFC 9112 section 6). */
export function announcesBody(request: IncomingMessage): boolean {
  const length = request.headers['content-length'];
  return request.headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

/** Reads the body. Throws ServerError `body-type` or `body-too-long`. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const type = request.headers['content-type'];
  if (type === undefined || !JSON_TYPE.test(type)) {
    throw new ServerError('body-type', 'The body must be JSON: send content-type: application/json.');
  }
  if ((request.headers['content-encoding'] ?? 'identity') !== 'identity') {
    throw new ServerError('body-type', 'The body must not be compressed: send it without content-encoding.');
  }
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLong(maxBytes);
  const parts: Buffer[] = [];
  let length = 0;
  // A stream that is destroyed here would take the refusal's answer with it.
  for await (const part of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > maxBytes) throw tooLong(maxBytes);
    parts.push(part);
  }
  return Buffer.concat(parts, length);
}

/** Reads strict JSON. Throws ServerError `body-malformed`. */
export function parseBody(bytes: Buffer): unknown {
  try {
    return parseStrictJsonBytes(bytes);
  } catch (error) {
    const why = error instanceof Error ? error.message : 'not JSON';
    throw new ServerError('body-malformed', `The body is ${why}.`, { cause: error });
  }
}

function tooLong(maxBytes: number): ServerError {
  return new ServerError('body-too-long', `The body is longer than ${maxBytes} bytes: send less.`, {
    headers: { connection: 'close' },
  });
}
