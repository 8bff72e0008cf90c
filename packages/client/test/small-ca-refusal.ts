/** How the CA for tests says no, and how it sends what it says. */
import type { ServerResponse } from 'node:http';

export class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly missing: unknown[] | undefined;

  constructor(status: number, code: string, detail = `refused: ${code}`, missing?: unknown[]) {
    super(detail);
    this.status = status;
    this.code = code;
    this.missing = missing;
  }
}

const KIND: Record<number, string> = {
  400: 'invalid',
  401: 'unauthenticated',
  403: 'denied',
  404: 'not-found',
};

export function refuse(response: ServerResponse, error: unknown): void {
  const refusal = error instanceof Refusal ? error : new Refusal(500, 'internal', String(error));
  response.writeHead(refusal.status, { 'content-type': 'application/problem+json' });
  response.end(
    JSON.stringify({
      type: `urn:beacon:problem:${KIND[refusal.status] ?? 'internal'}`,
      title: 'Refused',
      status: refusal.status,
      code: refusal.code,
      detail: refusal.message,
      id: 'request-1',
      ...(refusal.missing === undefined ? {} : { denial: { missing: refusal.missing } }),
    }),
  );
}

export function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
