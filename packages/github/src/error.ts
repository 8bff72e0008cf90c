/**
 * The one error class of this package. Messages are built from our own words, GitHub's status and host names only; what
 * was sent, what came back and the error of the layer below are never kept, because all three can hold a token.
 */
export type GitHubErrorCode =
  /** No usable answer: time, connection, 5xx, something that is not JSON. Trying again later may help; `retryAfterMs` when it was not asked, or GitHub said when. */
  | 'unavailable'
  /** GitHub asks us to wait; `retryAfterMs` says how long. */
  | 'rate-limited'
  /** GitHub does not know the person's token any more: revoked, expired, or never valid. */
  | 'unauthorized'
  /** GitHub knows the token and says no (403). */
  | 'refused'
  /** The token was made for another app. */
  | 'foreign-token'
  /** GitHub does not accept our app's client id and secret. */
  | 'app-refused'
  /** There is no such person; or no such repository or organisation that the person's token may administer. */
  | 'not-found'
  /** What was asked does not go with what is there already (409). */
  | 'conflict'
  /** GitHub does not take what was asked (422). */
  | 'rejected'
  /** An answer of another shape than GitHub documents. */
  | 'malformed'
  /** What the caller gave cannot be asked: an address, an id or a login of a wrong form. */
  | 'configuration';

export interface GitHubErrorFacts {
  /**
   * GitHub's HTTP status, when there was an answer. Not called `status`: octokit's pagination takes an error whose
   * `status` is 409 for the end of the list.
   */
  readonly answeredStatus?: number;
  readonly retryAfterMs?: number;
  /** GitHub's own id of the request, for its support. */
  readonly requestId?: string;
  /** A 403 that single sign-on would lift. */
  readonly sso?: boolean;
  /** Of a 403: the permissions of which the app needs one, as GitHub writes them, `administration=write`. */
  readonly permissions?: string;
  /** Of a 403, where GitHub tells: the app lacks a permission, or the person a role. */
  readonly lacking?: 'permission' | 'role';
  /** No answer was heard to what changes something at GitHub: it may have been done all the same. */
  readonly mayHaveHappened?: boolean;
}

export class GitHubError extends Error {
  readonly code: GitHubErrorCode;
  readonly answeredStatus: number | undefined;
  readonly retryAfterMs: number | undefined;
  readonly requestId: string | undefined;
  readonly sso: boolean;
  readonly permissions: string | undefined;
  readonly lacking: 'permission' | 'role' | undefined;
  readonly mayHaveHappened: boolean;

  constructor(code: GitHubErrorCode, message: string, facts: GitHubErrorFacts = {}) {
    super(message);
    this.name = 'GitHubError';
    this.code = code;
    this.answeredStatus = facts.answeredStatus;
    this.retryAfterMs = facts.retryAfterMs;
    this.requestId = facts.requestId;
    this.sso = facts.sso ?? false;
    this.permissions = facts.permissions;
    this.lacking = facts.lacking;
    this.mayHaveHappened = facts.mayHaveHappened ?? false;
  }
}
