/** Answers to a GET that names what it has already (RFC 9110 section 13.1.2): 304 when nothing changed. */
import { createHash } from 'node:crypto';
import type { Answer, RequestFacts } from '@beacon/server';

/** A strong tag for exactly these bytes. */
export function tagOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return `"${hash.digest('base64url')}"`;
}

/** The answer with its tag, or 304 without a body. */
export function unlessKnown(
  request: Pick<RequestFacts, 'headers'>,
  etag: string,
  answer: { readonly body: unknown; readonly headers?: Readonly<Record<string, string>> },
): Answer {
  const known = (request.headers['if-none-match'] ?? '')
    .split(',')
    .map((tag) => tag.trim().replace(/^W\//, ''));
  if (known.includes(etag)) return { status: 304, headers: { etag } };
  return { status: 200, body: answer.body, headers: { ...answer.headers, etag } };
}
