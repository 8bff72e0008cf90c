/** What we ask of GitHub: who somebody is, whether a token is ours, what they are a member of, and runners. */
export type { CheckedToken } from './app-token.ts';
export type { Fetch } from './bounded-fetch.ts';
export { GitHubError, type GitHubErrorCode } from './error.ts';
export type { CodeExchange } from './exchange-code.ts';
export { createGitHub, type GitHub, type GitHubSettings } from './github.ts';
export type { Identity } from './identity.ts';
export type { Memberships, UnknownMembership, UnknownReason } from './memberships.ts';
export type { GitHubRunner, RegistrationToken, RunnerDownload, RunnerGroup } from './runner-answer.ts';
export type { RunnerPlace } from './runner-places.ts';
export { formatScope, parseScope, type RunnerScope } from './runner-scope.ts';
export { createRunners, type Runners, type RunnersSettings } from './runners.ts';
