/** What the machine's files refused, for people: which file, why, and what to do. Knows no error of ours. */

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'you may not read or write there: see to whom it belongs',
  EPERM: 'you may not do that there: see to whom it belongs',
  EISDIR: 'this is a folder, and a file was expected: move it away',
  ENOENT: 'there is no such file or folder: make it first',
  ENOSPC: 'the disk is full: make space, then try again',
  ENOTDIR: 'this is not a folder, or something above it is not: move it away',
  EROFS: 'the file system is read-only: set HOME or XDG_STATE_HOME to a place that can be written',
};

/** The sentence for an error of the system's; undefined for any other. */
export function systemFailure(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('syscall' in error) || !('code' in error))
    return undefined;
  const path = 'path' in error && typeof error.path === 'string' ? `${error.path}: ` : '';
  const code = String(error.code);
  return `${path}${REASONS[code] ?? `${String(error.syscall)} failed`} (${code})`;
}
