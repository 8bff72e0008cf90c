/**
 * Which fault an answer of GitHub's, or its absence, is (REST documentation, "Troubleshooting", "Rate limits for the
 * REST API"). Octokit's errors hold request and answer, tokens included, so nothing of theirs is passed on but numbers.
 */
import { GitHubError, type GitHubErrorFacts } from './error.ts';

/** What GitHub asks for when a secondary limit names no time: "wait for at least one minute". */
const DEFAULT_WAIT_MS = 60_000;
const LONGEST_WAIT_MS = 24 * 60 * 60 * 1000;

type Headers = Record<string, unknown>;

/** Any error that came out of a conversation, as a GitHubError without cause. */
export function fromOctokit(error: unknown, host: string, now: Date): GitHubError {
  if (error instanceof GitHubError) return error;
  const { status, response, cause } = fieldsOf(error);
  if (cause instanceof GitHubError) return cause;
  const { headers, data } = fieldsOf(response);
  if (typeof status === 'number' && response !== undefined) {
    return fromStatus(status, fieldsOf(headers), data, host, now);
  }
  const reason = connectionReason(error);
  if (typeof status === 'number' || reason !== undefined) {
    return new GitHubError(
      'unavailable',
      `The connection to ${host} failed${reason === undefined ? '' : ` (${reason})`}. Try again; if it lasts, look at the network between.`,
    );
  }
  return new GitHubError(
    'malformed',
    `What ${host} answered could not be read. Check that the API address is GitHub's.`,
  );
}

/** A status that no documented call of ours is answered with. */
export function unexpected(host: string, status: number): GitHubError {
  return new GitHubError(
    'malformed',
    `${host} answered with status ${status}, which is not expected here. Check the API address in the configuration.`,
    { answeredStatus: status },
  );
}

function fromStatus(status: number, headers: Headers, data: unknown, host: string, now: Date): GitHubError {
  const requestId = text(headers['x-github-request-id']);
  const facts: GitHubErrorFacts = {
    answeredStatus: status,
    ...(requestId !== undefined && /^[\w:.-]{1,100}$/.test(requestId) ? { requestId } : {}),
  };
  if (status === 429 || (status === 403 && isRateLimit(headers, data))) {
    const retryAfterMs = waitMs(headers, now);
    return new GitHubError(
      'rate-limited',
      `${host} asks us to wait: too many requests. Try again in ${Math.ceil(retryAfterMs / 1000)} s.`,
      { ...facts, retryAfterMs },
    );
  }
  if (status === 401) {
    return new GitHubError(
      'unauthorized',
      `${host} does not accept the token any more. Log in again.`,
      facts,
    );
  }
  if (status === 403) {
    const sso = (text(headers['x-github-sso']) ?? '').startsWith('required');
    return new GitHubError(
      'refused',
      sso
        ? `${host} wants a single sign-on first. Sign in to the organisation's SSO, then log in again.`
        : `${host} refuses this token. Check the app's permissions and that the organisation allows the app.`,
      { ...facts, sso, ...whatLacks(headers, data) },
    );
  }
  if (status >= 500 || status === 304) {
    const after = seconds(headers['retry-after']);
    const retryAfterMs = after === undefined ? undefined : Math.min(after * 1000, LONGEST_WAIT_MS);
    return new GitHubError(
      'unavailable',
      `${host} answered with status ${status}. Try again${retryAfterMs === undefined ? '' : ` in ${retryAfterMs / 1000} s`}; if it lasts, look at https://www.githubstatus.com.`,
      { ...facts, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) },
    );
  }
  return new GitHubError('malformed', unexpected(host, status).message, facts);
}

/** From the header and the two sentences by which GitHub tells an app without permission from a person without role. */
function whatLacks(headers: Headers, data: unknown): Pick<GitHubErrorFacts, 'permissions' | 'lacking'> {
  const permissions = text(headers['x-accepted-github-permissions']) ?? '';
  const message = text(fieldsOf(data)['message']) ?? '';
  const lacking = /not accessible by (?:integration|personal access token)/i.test(message)
    ? 'permission'
    : /must have admin rights|must be an? (?:owner|admin|organization)/i.test(message)
      ? 'role'
      : undefined;
  return {
    ...(/^[a-z_]+=[a-z]+(?:[,;] ?[a-z_]+=[a-z]+){0,9}$/.test(permissions) ? { permissions } : {}),
    ...(lacking === undefined ? {} : { lacking }),
  };
}

function isRateLimit(headers: Headers, data: unknown): boolean {
  return (
    headers['retry-after'] !== undefined ||
    String(headers['x-ratelimit-remaining']) === '0' ||
    /\brate limit\b/i.test(text(fieldsOf(data)['message']) ?? '')
  );
}

function waitMs(headers: Headers, now: Date): number {
  const after = seconds(headers['retry-after']);
  const reset =
    String(headers['x-ratelimit-remaining']) === '0' ? seconds(headers['x-ratelimit-reset']) : undefined;
  const wait =
    after !== undefined ? after * 1000 : reset !== undefined ? reset * 1000 - now.getTime() : DEFAULT_WAIT_MS;
  return Math.min(Math.max(wait, 0), LONGEST_WAIT_MS);
}

function seconds(value: unknown): number | undefined {
  return /^[0-9]{1,12}$/.test(String(value)) ? Number(value) : undefined;
}

/** `ECONNREFUSED` and the like, which fetch hides two causes deep; never a message. */
function connectionReason(error: unknown): string | undefined {
  let at: unknown = error;
  for (let depth = 0; depth < 4 && at !== undefined; depth++) {
    const { code, name, cause } = fieldsOf(at);
    if (typeof code === 'string' && /^(?:E[A-Z]{3,20}|UND_ERR_[A-Z_]{1,30})$/.test(code)) return code;
    if (name === 'AbortError') return 'aborted';
    at = cause;
  }
  return undefined;
}

function fieldsOf(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return {};
  return value as Record<string, unknown>;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
