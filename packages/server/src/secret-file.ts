/**
 * Reads a secret from a file that only this process may read. Works with systemd credentials. The secret is never
 * repeated in an error.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { ServerError } from './error.ts';

export interface SecretFileOptions {
  /** Default 64 KiB. */
  readonly maxBytes?: number;
  /** For a binary key: the file has exactly this many bytes, and a last byte that happens to be a newline belongs to it. */
  readonly exactBytes?: number;
}

/**
 * The file's bytes without one newline at the end. Throws ServerError `secret-file` when the file is missing, empty, too
 * long, not a plain file, or open to its group or the world.
 */
export function readSecretFile(path: string, options: SecretFileOptions = {}): Buffer {
  const maxBytes = options.maxBytes ?? 65_536;
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw refused(path, 'it cannot be opened: does it exist, and may this process read it?', error);
  }
  try {
    const status = fstatSync(file);
    if (!status.isFile()) throw refused(path, 'it is not a plain file');
    if ((status.mode & 0o077) !== 0) throw refused(path, 'others may read or write it: run chmod 600 on it');
    if (status.size > maxBytes) throw refused(path, `it is longer than ${maxBytes} bytes`);
    const bytes = Buffer.alloc(status.size);
    const length = readSync(file, bytes, 0, bytes.length, 0);
    if (options.exactBytes !== undefined) {
      if (length !== options.exactBytes)
        throw refused(path, `it must have exactly ${options.exactBytes} bytes`);
      return bytes;
    }
    const end = bytes[length - 1] === 0x0a ? length - 1 : length;
    if (end <= 0) throw refused(path, 'it is empty');
    return bytes.subarray(0, end);
  } finally {
    closeSync(file);
  }
}

function refused(path: string, why: string, cause?: unknown): ServerError {
  return new ServerError('secret-file', `the secret file ${path} was refused: ${why}`, { cause });
}
