/** A small form as browsers send it (`application/x-www-form-urlencoded`): read whole, bounded, each name once. */
import type { IncomingMessage } from 'node:http';

const MAX_FORM_BYTES = 4096;

/** Undefined for what is no such form. */
export async function readForm(request: IncomingMessage): Promise<ReadonlyMap<string, string> | undefined> {
  const type = request.headers['content-type']?.split(';', 1).join('').trim().toLowerCase();
  if (type !== 'application/x-www-form-urlencoded') return undefined;
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    const bytes = chunk as Buffer;
    length += bytes.length;
    if (length > MAX_FORM_BYTES) return undefined;
    chunks.push(bytes);
  }
  const fields = [...new URLSearchParams(Buffer.concat(chunks).toString())];
  const form = new Map(fields);
  return form.size === fields.length ? form : undefined;
}
