/**
 * How a host's record chain lies in files: the gate writes them, `beacon host sync` reads them to report. The newest lines
 * stand in one file; one that has grown stands beside it under the number of its last record. Names only.
 */
export const RECORD_SUFFIX = '.ndjson';
/** The newest lines of a host's chain. */
export const HOST_RECORDS = '/var/lib/beacon/records/gate.ndjson';
const SEQUENCE_DIGITS = 16;

/** The name of a file that was put beside `file` when `last` was its last record. */
export function formerRecordFile(file: string, last: number): string {
  return `${stem(file)}-${String(last).padStart(SEQUENCE_DIGITS, '0')}${RECORD_SUFFIX}`;
}

/** Those of `names` that were put beside the file of this name, oldest first, each with the number of its last record. */
export function findFormerRecordFiles(
  file: string,
  names: readonly string[],
): { readonly name: string; readonly last: number }[] {
  const begin = `${stem(file)}-`;
  return names
    .filter((name) => name.startsWith(begin) && name.endsWith(RECORD_SUFFIX))
    .map((name) => ({ name, digits: name.slice(begin.length, -RECORD_SUFFIX.length) }))
    .filter(({ digits }) => digits.length === SEQUENCE_DIGITS && /^\d+$/.test(digits))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, digits }) => ({ name, last: Number(digits) }));
}

function stem(file: string): string {
  return file.slice(0, -RECORD_SUFFIX.length);
}
