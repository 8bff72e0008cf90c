/**
 * The one line `type base64 comment` of `.pub` files, for keys and certificates alike: taken apart and put together.
 * One space stands between the parts, base64 is exact, a comment has no control characters, and options before the
 * type are refused. What the blob holds is decoded in `public-key.ts` and `certificate.ts`.
 */
import { Buffer } from 'node:buffer';
import { SshError } from './error.ts';
import { MAX_BLOB_BYTES } from './wire.ts';

/** A key line taken apart: what its blob holds is for the caller to decode. */
export interface KeyLine {
  readonly type: string;
  readonly blob: Buffer;
  readonly comment: string;
}

const MAX_COMMENT_CHARACTERS = 1024;

/** Takes a key or certificate line apart: one space between parts, exact base64, a comment without controls. */
export function splitKeyLine(line: string): KeyLine {
  const text = line.endsWith('\n') ? line.slice(0, -1) : line;
  if (text.length > MAX_BLOB_BYTES * 2) {
    throw new SshError(
      'wire-too-long',
      'the key line is longer than any key or certificate that sshd accepts',
    );
  }
  const match = /^([a-z0-9.@-]{1,64}) ([A-Za-z0-9+/]+={0,2})(?: (.*))?$/u.exec(text);
  const [, type, base64, comment = ''] = match ?? [];
  if (type === undefined || base64 === undefined) {
    throw new SshError('key-line-malformed', 'this is no line of the form "type base64 comment"');
  }
  checkComment(comment);
  const blob = Buffer.from(base64, 'base64');
  if (blob.toString('base64') !== base64) {
    throw new SshError('key-line-malformed', 'the base64 of the key line is not exact');
  }
  return { type, blob, comment };
}

/** The counterpart of `splitKeyLine`, without a newline. */
export function joinKeyLine(type: string, blob: Buffer, comment: string): string {
  checkComment(comment);
  return `${type} ${blob.toString('base64')}${comment === '' ? '' : ` ${comment}`}`;
}

function checkComment(comment: string): void {
  if (comment.length > MAX_COMMENT_CHARACTERS || /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/u.test(comment)) {
    throw new SshError('key-line-malformed', 'the comment has control characters or is too long');
  }
}
