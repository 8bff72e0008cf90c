/** Everything that we ask of GitHub, put together from its address and our app's credentials. */
import { configuration, parseAddress, refuseNoToken } from './address.ts';
import { isLogin } from './answer.ts';
import { type AppCredentials, type CheckedToken, checkToken, deleteToken } from './app-token.ts';
import type { Fetch } from './bounded-fetch.ts';
import { type CircuitOptions, createCircuit, withCircuit } from './circuit.ts';
import { createConnection } from './connection.ts';
import { type CodeExchange, exchangeCode } from './exchange-code.ts';
import { askIdentity, findIdentity, type Identity } from './identity.ts';
import { askMemberships, type Memberships, type UnknownMembership } from './memberships.ts';

export interface GitHubSettings {
  /** `https://api.github.com`, or `https://<host>/api/v3` of a GitHub Enterprise Server. `http:` on loopback only. */
  readonly apiUrl: string;
  /** `https://github.com`, or `https://<host>`. */
  readonly webUrl: string;
  readonly clientId: string;
  /** Called for each use, so that the secret stands in no object that could be shown. */
  readonly clientSecret: () => string;
  /** The name before the colon of a person: `github`, or another for an Enterprise Server. */
  readonly provider: string;
  /** For one call, retries included; 5000 by default. */
  readonly timeoutMs?: number;
  /** Before the one retry; 250 by default. */
  readonly retryWaitMs?: number;
  /** When a GitHub that does not answer is left alone. */
  readonly circuit?: CircuitOptions;
  readonly fetch?: Fetch;
  readonly now?: () => Date;
}

export interface GitHub {
  /** Where the web flow goes, for the login at the CA. */
  readonly urls: { readonly authorize: string; readonly token: string; readonly profile: string };
  /** The token for a code of the web flow. Throws `refused` for a code that GitHub does not take. */
  exchangeCode(exchange: CodeExchange): Promise<string>;
  /** Who the token's person is. Says nothing about whose app the token is: see `checkToken`. */
  readIdentity(token: string): Promise<Identity>;
  /** Whether the token was made for our app, and whose it is. Throws `foreign-token` (also for one that has ended). */
  checkToken(token: string): Promise<CheckedToken>;
  /** Ends the token at GitHub; one that is gone already is no error. */
  deleteToken(token: string): Promise<void>;
  /**
   * In which of the named organisations and teams (ids with provider, `github:42`) the person is; what is neither in
   * nor unknown is known-out. Asks nothing when nothing is named. Throws on every fault.
   */
  readMemberships(
    token: string,
    named: { organizations: readonly string[]; teams: readonly string[] },
  ): Promise<Memberships>;
  /** Who has that login now, asked without a token (60 requests an hour). Throws `not-found`. */
  findPersonByLogin(login: string): Promise<Identity>;
}

const DEFAULT_TIMEOUT_MS = 5000;
const DEFAULT_RETRY_WAIT_MS = 250;
const PROVIDER = /^[a-z][a-z0-9-]{0,31}$/;

/** Throws GitHubError `configuration` for settings that cannot be meant. */
export function createGitHub(settings: GitHubSettings): GitHub {
  const apiUrl = parseAddress(settings.apiUrl, 'The API address of GitHub');
  const webUrl = parseAddress(settings.webUrl, 'The web address of GitHub');
  if (!PROVIDER.test(settings.provider)) throw configuration('The provider', 'a word such as github');
  if (!/^[A-Za-z0-9._-]{1,100}$/.test(settings.clientId))
    throw configuration('client_id', "an app's client id");
  const { provider } = settings;
  const now = settings.now ?? (() => new Date());
  const connection = withCircuit(
    createConnection({
      apiUrl,
      timeoutMs: settings.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      retryWaitMs: settings.retryWaitMs ?? DEFAULT_RETRY_WAIT_MS,
      fetch: settings.fetch ?? globalThis.fetch,
      now,
    }),
    new URL(apiUrl).host,
    settings.circuit,
  );
  const codes = {
    webUrl,
    clientId: settings.clientId,
    clientSecret: settings.clientSecret,
    timeoutMs: settings.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    fetch: settings.fetch ?? globalThis.fetch,
    circuit: createCircuit(new URL(webUrl).host, settings.circuit),
    now,
  };
  const app: AppCredentials = { clientId: settings.clientId, clientSecret: settings.clientSecret, provider };
  return {
    urls: {
      authorize: `${webUrl}/login/oauth/authorize`,
      token: `${webUrl}/login/oauth/access_token`,
      profile: `${apiUrl}/user`,
    },
    exchangeCode: (exchange) => exchangeCode(codes, exchange),
    async readIdentity(token) {
      refuseNoToken(token);
      return connection.converse({ authorization: `bearer ${token}`, token }, (conversation) =>
        askIdentity(conversation, provider),
      );
    },
    async checkToken(token) {
      refuseNoToken(token);
      return checkToken(connection, app, token);
    },
    async deleteToken(token) {
      refuseNoToken(token);
      return deleteToken(connection, app, token);
    },
    async readMemberships(token, named) {
      refuseNoToken(token);
      const readAt = now();
      const asked = {
        organizations: named.organizations.map((id) => withoutProvider(id, provider)),
        teams: named.teams.map((id) => withoutProvider(id, provider)),
      };
      if (asked.organizations.length === 0 && asked.teams.length === 0) {
        return { organizations: { in: [], unknown: [] }, teams: { in: [], unknown: [] }, readAt };
      }
      const { organizations, teams, names } = await askMemberships(connection, token, asked);
      const withProvider = (found: typeof organizations) => ({
        in: found.in.map((id) => `${provider}:${id}`),
        unknown: [...found.unknown].map(([id, why]) => {
          const name = names.get(id);
          return { id: `${provider}:${id}`, why, ...(name === undefined ? {} : { name }) };
        }),
      });
      const teamsFound = withProvider(teams);
      const unknownTeams = teamsFound.unknown.map((team): UnknownMembership => {
        const hider = teams.hiddenBy.get(withoutProvider(team.id, provider));
        if (hider === undefined) return team;
        const name = names.get(hider);
        return { ...team, organization: `${provider}:${hider}`, ...(name === undefined ? {} : { name }) };
      });
      return {
        organizations: withProvider(organizations),
        teams: { in: teamsFound.in, unknown: unknownTeams },
        readAt,
      };
    },
    async findPersonByLogin(login) {
      if (!isLogin(login)) throw configuration('What was given', 'a login at GitHub');
      return connection.converse({ authorization: null }, (conversation) =>
        findIdentity(conversation, provider, login),
      );
    },
  };
}

function withoutProvider(id: string, provider: string): string {
  const number = id.startsWith(`${provider}:`) ? id.slice(provider.length + 1) : '';
  if (!/^[1-9][0-9]{0,18}$/.test(number)) {
    throw configuration(
      `${JSON.stringify(id.slice(0, 60))} in a policy`,
      `an id of this provider, such as ${provider}:42`,
    );
  }
  return number;
}
