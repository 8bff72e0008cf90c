/**
 * The one way out: `fetch` that goes to the configured API address and nowhere else, whatever a `Link` header or a
 * redirect says (the token would go with it), and that reads no more of an answer than a bound allows.
 */
import { GitHubError } from './error.ts';

export type Fetch = typeof globalThis.fetch;

/** A page of a hundred teams is some 250 kB. */
const MAX_ANSWER_BYTES = 2 * 1024 * 1024;

/** Throws GitHubError `malformed` for another address than `apiUrl`'s and for an answer that is too long. */
export function boundedFetch(apiUrl: string, fetch: Fetch): Fetch {
  const base = new URL(`${apiUrl}/`);
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (url.origin !== base.origin || !url.pathname.startsWith(base.pathname)) {
      throw new GitHubError(
        'malformed',
        `GitHub pointed to ${url.host}, which is not the API address ${base.host}. Check the API address in the configuration.`,
      );
    }
    const response = await fetch(url, { ...init, redirect: 'manual' });
    const body = response.body === null ? null : await readBounded(response.body, base.host);
    const whole = new Response(body === null || body.length === 0 ? null : new Uint8Array(body), {
      status: response.status,
      headers: response.headers,
    });
    // A Response that is made by hand has no address, and octokit's pagination reads it.
    return Object.defineProperty(whole, 'url', { value: url.href });
  };
}

async function readBounded(body: ReadableStream<Uint8Array>, host: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  // Leaving the loop cancels the stream and with it the connection.
  for await (const chunk of body) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) {
      throw new GitHubError(
        'malformed',
        `An answer of ${host} is longer than ${MAX_ANSWER_BYTES} bytes. Check that the API address is GitHub's.`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
