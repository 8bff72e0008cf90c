/**
 * Reading GitHub's answers about self-hosted runners (REST documentation, "Self-hosted runners", "Self-hosted runner
 * groups"): strictly where we use a field, blind to all others. Every function throws GitHubError `malformed`.
 */
import { type Fields, malformed, readFields, readId, readList, readWord } from './answer.ts';

export interface GitHubRunner {
  readonly id: number;
  readonly name: string;
  readonly os: string;
  readonly status: 'online' | 'offline';
  /** Has a job. With `offline`: it died over its job, and GitHub removes it only when the job has ended. */
  readonly busy: boolean;
  readonly labels: readonly string[];
  readonly ephemeral?: boolean;
  readonly version?: string;
  readonly group?: number;
}

export interface RegistrationToken {
  readonly token: string;
  readonly expiresAt: Date;
}

export interface RunnerDownload {
  readonly os: 'linux';
  readonly architecture: 'x64' | 'arm64' | 'arm';
  readonly version: string;
  readonly filename: string;
  readonly url: string;
  /** Lower-case hex; absent where GitHub gives none. */
  readonly sha256?: string;
}

export interface RunnerGroup {
  readonly id: number;
  readonly name: string;
  readonly isDefault: boolean;
}

const SHOWN = /^[^\p{C}]{1,255}$/u;
const TOKEN = /^[A-Za-z0-9_-]{1,255}$/;
const TIME =
  /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})$/;
const ARCHIVE = /^actions-runner-linux-(x64|arm64|arm)-([0-9]+\.[0-9]+\.[0-9]+)\.tar\.gz$/;
const SHA256 = /^[0-9a-f]{64}$/i;

export function readRunner(value: unknown): GitHubRunner {
  const fields = readFields(value, 'a runner');
  const labels = readList(fields['labels'], "a runner's labels").map((label) =>
    readText(readFields(label, 'a label')['name'], SHOWN, 'a label'),
  );
  return {
    id: readNumber(fields['id'], "a runner's id"),
    name: readText(fields['name'], SHOWN, "a runner's name"),
    os: readText(fields['os'], SHOWN, "a runner's system"),
    status: readWord(fields['status'], ['online', 'offline'], "a runner's status"),
    busy: readTruth(fields['busy'], 'whether a runner is busy'),
    labels,
    ...optional(fields, 'ephemeral', 'ephemeral', readTruth),
    ...optional(fields, 'version', 'version', (version, what) => readText(version, SHOWN, what)),
    ...optional(fields, 'runner_group_id', 'group', readNumber),
  };
}

export function readRegistrationToken(value: unknown): RegistrationToken {
  const fields = readFields(value, 'a registration token');
  const expires = readText(fields['expires_at'], TIME, "a registration token's end");
  const expiresAt = new Date(expires);
  if (Number.isNaN(expiresAt.getTime())) throw malformed("a registration token's end", 'a time');
  return { token: readText(fields['token'], TOKEN, 'a registration token'), expiresAt };
}

/** Undefined for another system than Linux. */
export function readDownload(value: unknown): RunnerDownload | undefined {
  const fields = readFields(value, 'a download');
  if (readText(fields['os'], SHOWN, "a download's system") !== 'linux') return undefined;
  const filename = readText(fields['filename'], ARCHIVE, "a download's file name");
  const [, named, version = ''] = ARCHIVE.exec(filename) ?? [];
  const architecture = readWord(fields['architecture'], ['x64', 'arm64', 'arm'], "a download's architecture");
  if (named !== architecture) throw malformed("a download's file name", `one for ${architecture}`);
  return {
    os: 'linux',
    architecture,
    version,
    filename,
    url: readAddress(fields['download_url']),
    ...optional(fields, 'sha256_checksum', 'sha256', (digest, what) =>
      readText(digest, SHA256, what).toLowerCase(),
    ),
  };
}

export function readGroup(value: unknown): RunnerGroup {
  const fields = readFields(value, 'a runner group');
  return {
    id: readNumber(fields['id'], "a runner group's id"),
    name: readText(fields['name'], SHOWN, "a runner group's name"),
    isDefault: readTruth(fields['default'], 'whether a runner group is the default'),
  };
}

/** How many rows there are in all, which octokit hangs on to a page's rows. */
export function readTotal(page: unknown): number {
  const rows = readList(page, 'a page');
  const total: unknown = 'total_count' in rows ? rows.total_count : undefined;
  if (typeof total !== 'number' || !Number.isSafeInteger(total) || total < 0) {
    throw malformed('the number of rows', 'a number');
  }
  return total;
}

function readText(value: unknown, form: RegExp, what: string): string {
  if (typeof value !== 'string' || !form.test(value)) throw malformed(what, 'a text of the documented form');
  return value;
}

function readNumber(value: unknown, what: string): number {
  const id = Number(readId(value, what));
  if (!Number.isSafeInteger(id)) throw malformed(what, 'a number below 2^53');
  return id;
}

export function readTruth(value: unknown, what: string): boolean {
  if (typeof value !== 'boolean') throw malformed(what, 'true or false');
  return value;
}

function readAddress(value: unknown): string {
  const what = "a download's address";
  const text = readText(value, /^https?:\/\/[\x21-\x7e]{1,2000}$/, what);
  if (!URL.canParse(text)) throw malformed(what, 'an address');
  return text;
}

/** Null counts as absent, as in the rest of GitHub's answers. */
function optional<Name extends string, Value>(
  fields: Fields,
  from: string,
  name: Name,
  read: (value: unknown, what: string) => Value,
): Partial<Record<Name, Value>> {
  const value = fields[from] ?? undefined;
  const given: Partial<Record<Name, Value>> = {};
  if (value !== undefined) given[name] = read(value, from);
  return given;
}
