/**
 * What a command on a host writes, here: its stdout to our stdout, its stderr to our stderr, as it comes. Into a file or a
 * pipe go the very bytes; on a terminal control characters other than newline and tab are shown and not obeyed, for what
 * runs on a host must not type on the terminal of whoever looks (ATTACKS.md I12).
 */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { plainText } from '@beacon/client';
import type { Json } from '@beacon/protocol/strict-json';

export type OutputStream = Writable & { readonly isTTY?: boolean };

type OutputData = { readonly [key: string]: Json };

export interface RunOutput {
  /** One piece, when it has been taken. */
  write(to: 'stdout' | 'stderr', data: OutputData): Promise<void>;
}

export function createRunOutput(streams: Readonly<Record<'stdout' | 'stderr', OutputStream>>): RunOutput {
  /** A carriage return at the end of a piece belongs to the newline that may follow. */
  const held = { stdout: '', stderr: '' };
  return {
    async write(to, data) {
      const stream = streams[to];
      const bytes = bytesOf(data);
      let shown: string | Uint8Array = bytes;
      if (stream.isTTY === true) {
        const text = held[to] + bytes.toString('utf8');
        held[to] = text.endsWith('\r') ? '\r' : '';
        shown = safeText(text.slice(0, text.length - held[to].length));
      }
      if (shown.length > 0 && !stream.write(shown)) {
        await Promise.race([once(stream, 'drain'), once(stream, 'close')]);
      }
    },
  };
}

/** Text that a terminal only shows. */
export function safeText(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .replace(/[^\n\t]+/g, (piece) => plainText(piece, Number.POSITIVE_INFINITY));
}

function bytesOf({ text, base64 }: OutputData): Buffer {
  if (typeof text === 'string') return Buffer.from(text, 'utf8');
  return typeof base64 === 'string' ? Buffer.from(base64, 'base64') : Buffer.alloc(0);
}
