/** What we ask of GitHub: who somebody is, whether a token is ours, and what they are a member of. */
export type { CheckedToken } from './app-token.ts';
export type { Fetch } from './bounded-fetch.ts';
export { GitHubError, type GitHubErrorCode } from './error.ts';
export type { CodeExchange } from './exchange-code.ts';
export { createGitHub, type GitHub, type GitHubSettings } from './github.ts';
export type { Identity } from './identity.ts';
export type { Memberships, UnknownMembership, UnknownReason } from './memberships.ts';
