/** A small GitHub for the tests: one app, two persons, two organisations, and a GitHub client with short waits. */
import { type App, type AppKind, type Standin, startStandin } from '@beacon/github-standin';
import { createGitHub, type GitHub, GitHubError, type GitHubSettings } from '../src/index.ts';

export const MONA = 583231;
export const HUBOT = 480938;
export const ACME = 42;
export const OTHER = 43;
export const OPS = 7001;
export const OTHER_OPS = 7002;

export interface World {
  readonly standin: Standin;
  readonly app: App;
  readonly github: GitHub;
  connect(changes?: Partial<GitHubSettings>): GitHub;
  mint(person?: number): string;
}

/** `kind` is the app's; the clock of client and stand-in is the machine's, waits are short. */
export async function makeWorld(kind: AppKind = 'github-app'): Promise<World> {
  const standin = await startStandin();
  const { state } = standin;
  const app = state.addApp({ kind, callbackUrls: ['https://ca.example/login/callback'] });
  state.addPerson({ id: MONA, login: 'mona', name: 'Mona Lisa' });
  state.addPerson({ id: HUBOT, login: 'hubot' });
  state.addOrganization({ id: ACME, login: 'acme' });
  state.addOrganization({ id: OTHER, login: 'other' });
  state.addTeam({ id: OPS, organization: ACME, slug: 'ops' });
  state.addTeam({ id: OTHER_OPS, organization: OTHER, slug: 'ops' });
  state.setMember(ACME, MONA, 'active');
  state.setTeamMember(OPS, MONA, true);
  if (kind === 'github-app') {
    state.installApp(ACME, app.clientId);
    state.installApp(OTHER, app.clientId);
  }
  const connect = (changes: Partial<GitHubSettings> = {}) =>
    createGitHub({
      apiUrl: standin.url,
      webUrl: standin.url,
      clientId: app.clientId,
      clientSecret: () => app.clientSecret,
      provider: 'github',
      timeoutMs: 20_000,
      retryWaitMs: 5,
      ...changes,
    });
  return {
    standin,
    app,
    github: connect(),
    connect,
    mint: (person = MONA) => state.mintToken({ clientId: app.clientId, person }).token,
  };
}

/** The GitHubError that `promise` rejects with; fails when it does not. */
export async function failureOf(promise: Promise<unknown>): Promise<GitHubError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ('error' in outcome && outcome.error instanceof GitHubError) return outcome.error;
  throw new Error('expected a GitHubError', { cause: outcome });
}
