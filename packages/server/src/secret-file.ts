/**
 * Reads a secret from a file that only this process may read. A path that begins with `$CREDENTIALS_DIRECTORY/` names a
 * systemd credential (systemd.exec(5), CREDENTIALS) in the folder that this one variable names; nothing else is expanded.
 * The secret is never repeated in an error.
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { ServerError } from './error.ts';

export interface SecretFileOptions {
  /** Default 64 KiB. */
  readonly maxBytes?: number;
  /** For a binary key: the file has exactly this many bytes, and a last byte that happens to be a newline belongs to it. */
  readonly exactBytes?: number;
  /** The folder of systemd's credentials; what CREDENTIALS_DIRECTORY names when left out. */
  readonly credentials?: string | undefined;
}

const CREDENTIAL = '$CREDENTIALS_DIRECTORY/';
const CREDENTIAL_NAME = /^(?![.]{1,2}$)[A-Za-z0-9._-]{1,255}$/;

/** Whether a path as it stands in a configuration names a systemd credential. */
export function isCredentialPath(path: string): boolean {
  return path.startsWith(CREDENTIAL);
}

/**
 * The file's bytes without one newline at the end. Throws ServerError `secret-file` when the file is missing, empty, too
 * long, not a plain file, or open to its group or the world.
 */
export function readSecretFile(path: string, options: SecretFileOptions = {}): Buffer {
  const maxBytes = options.maxBytes ?? 65_536;
  const credential = isCredentialPath(path);
  let file: number;
  try {
    file = openSync(
      credential ? findCredential(path, options) : path,
      constants.O_RDONLY | constants.O_NONBLOCK,
    );
  } catch (error) {
    if (error instanceof ServerError) throw error;
    throw refused(path, 'it cannot be opened: does it exist, and may this process read it?', error);
  }
  try {
    const status = fstatSync(file);
    if (!status.isFile()) throw refused(path, 'it is not a plain file');
    if (isOpenToOthers(status, credential))
      throw refused(path, 'others may read or write it: run chmod 600 on it');
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

/**
 * systemd lets the unit's account read a credential by an entry in the access list of a file of root's, and the mode
 * shows that as if root's group might read it; nobody else can enter the folder.
 */
function isOpenToOthers({ mode, uid, gid }: Stats, credential: boolean): boolean {
  const allowed = credential && uid === 0 && gid === 0 ? 0o040 : 0;
  return (mode & 0o077 & ~allowed) !== 0;
}

function findCredential(path: string, options: SecretFileOptions): string {
  const name = path.slice(CREDENTIAL.length);
  if (!CREDENTIAL_NAME.test(name)) throw refused(path, 'a credential is named by one name without slashes');
  const folder = 'credentials' in options ? options.credentials : process.env['CREDENTIALS_DIRECTORY'];
  if (folder === undefined || !isAbsolute(folder))
    throw refused(
      path,
      'it names a systemd credential, and there is no CREDENTIALS_DIRECTORY: start this by its unit, or name the folder that holds the secrets, as in CREDENTIALS_DIRECTORY=/etc/beacon-ca/keys beacon ca check',
    );
  return join(folder, name);
}

function refused(path: string, why: string, cause?: unknown): ServerError {
  return new ServerError('secret-file', `the secret file ${path} was refused: ${why}`, { cause });
}
