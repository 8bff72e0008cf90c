/** What settings and callers give to ask GitHub with: addresses and tokens, of which only the form is looked at here. */
import { GitHubError } from './error.ts';

const TOKEN = /^[A-Za-z0-9_]{20,255}$/;

/** The address without a slash at its end. A client secret and tokens go there, so plain HTTP is for loopback only. */
export function parseAddress(text: string, what: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const bare = url !== undefined && url.username + url.password + url.search + url.hash === '';
  const loopback = url !== undefined && /^(127(?:\.[0-9]+){3}|\[::1\]|localhost)$/.test(url.hostname);
  if (!bare || !(url.protocol === 'https:' || (url.protocol === 'http:' && loopback))) {
    throw configuration(what, 'an https address without credentials, query or fragment');
  }
  return url.href.replace(/\/+$/, '');
}

/** Throws GitHubError `unauthorized` for what cannot be a token. */
export function refuseNoToken(token: string): void {
  if (!TOKEN.test(token)) {
    throw new GitHubError('unauthorized', 'That is not the form of a token of GitHub. Log in again.');
  }
}

export function configuration(what: string, form: string): GitHubError {
  return new GitHubError('configuration', `${what} is not ${form}. Correct it.`);
}
