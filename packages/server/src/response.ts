/** Writes answers and refusals. The one place where bytes leave a route. */
import type { ServerResponse } from 'node:http';
import { outcomeOf } from './log.ts';
import { answerRefusal } from './problem.ts';
import type { Answer, Refusal } from './route.ts';
import { sendStream } from './stream.ts';

/** Writes what a route answered; of a stream, resolves at its end. */
export async function sendAnswer(response: ServerResponse, result: Answer): Promise<void> {
  if ('stream' in result) return sendStream(response, result);
  if (response.headersSent || response.destroyed) return;
  if ('refusal' in result) {
    sendRefusal(response, result.refusal);
    return;
  }
  const { status, body, headers = {} } = result;
  const json = body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body);
  const bytes = json
    ? Buffer.from(JSON.stringify(body))
    : typeof body === 'string'
      ? Buffer.from(body)
      : body;
  response.statusCode = status;
  if (json) response.setHeader('content-type', 'application/json');
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (status !== 204 && status !== 304) response.setHeader('content-length', bytes?.length ?? 0);
  response.end(bytes);
}

/** Writes a problem document. */
export function sendRefusal(response: ServerResponse, refusal: Refusal): void {
  const outcome = outcomeOf(response);
  if (outcome !== undefined) outcome.code = refusal.code;
  const { status, headers, problem } = answerRefusal(refusal, outcome?.id ?? '');
  const bytes = Buffer.from(JSON.stringify(problem));
  response.statusCode = status;
  response.setHeader('content-type', 'application/problem+json');
  response.setHeader('content-length', bytes.length);
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.end(bytes);
}
