/**
 * The last step of the web flow: a code for a token (GitHub's documentation, "Generating a user access token for a GitHub
 * App", "Authorizing OAuth apps"). Asked of the web address, within the same bounds and behind a circuit like all other
 * questions, so that a GitHub that hangs at sign-in piles up nothing. GitHub's errors come with status 200.
 */
import { readFields } from './answer.ts';
import { boundedFetch, type Fetch } from './bounded-fetch.ts';
import type { Circuit } from './circuit.ts';
import { GitHubError } from './error.ts';
import { fromOctokit, unexpected } from './fault.ts';

export interface CodeExchange {
  readonly code: string;
  readonly redirectUri: string;
  /** RFC 7636 section 4.5. */
  readonly codeVerifier: string;
}

export interface CodeExchangeSettings {
  readonly webUrl: string;
  readonly clientId: string;
  readonly clientSecret: () => string;
  readonly timeoutMs: number;
  readonly fetch: Fetch;
  readonly circuit: Circuit;
  readonly now: () => Date;
}

/** The person's token. Throws GitHubError `refused` for a code that GitHub does not take, `app-refused`, and faults. */
export function exchangeCode(settings: CodeExchangeSettings, exchange: CodeExchange): Promise<string> {
  const { host } = new URL(settings.webUrl);
  return settings.circuit.run(async () => {
    const signal = AbortSignal.timeout(settings.timeoutMs);
    try {
      return readToken(await ask(settings, exchange, signal), host);
    } catch (error) {
      if (signal.aborted) {
        throw new GitHubError(
          'unavailable',
          `${host} did not answer within ${settings.timeoutMs} ms. Try again; if it lasts, look at https://www.githubstatus.com or the network between.`,
        );
      }
      throw fromOctokit(error, host, settings.now());
    }
  });
}

async function ask(settings: CodeExchangeSettings, exchange: CodeExchange, signal: AbortSignal) {
  const { webUrl, clientId } = settings;
  const response = await boundedFetch(webUrl, settings.fetch)(`${webUrl}/login/oauth/access_token`, {
    method: 'POST',
    headers: { accept: 'application/json', 'user-agent': 'beacon' },
    body: new URLSearchParams({
      client_id: clientId,
      client_secret: settings.clientSecret(),
      code: exchange.code,
      redirect_uri: exchange.redirectUri,
      code_verifier: exchange.codeVerifier,
    }),
    signal,
  });
  const { status, headers } = response;
  const data: unknown = await response.json().catch(() => undefined);
  if (status === 200) return data;
  if (status < 400) throw unexpected(new URL(webUrl).host, status);
  throw { status, response: { headers: Object.fromEntries(headers), data } };
}

function readToken(data: unknown, host: string): string {
  if (data === undefined) {
    throw new GitHubError(
      'unavailable',
      `What ${host} answered is not whole JSON. Try again; if it lasts, look at what stands between here and GitHub.`,
      { answeredStatus: 200 },
    );
  }
  const { error, access_token: token } = readFields(data, 'the answer to a code');
  if (error === 'incorrect_client_credentials') {
    throw new GitHubError(
      'app-refused',
      "GitHub does not accept the app's client id and secret. Check client_id and the client secret file in the configuration.",
      { answeredStatus: 200 },
    );
  }
  if (typeof error === 'string')
    throw new GitHubError('refused', `${host} does not take the code. Start the sign-in again.`, {
      answeredStatus: 200,
    });
  if (typeof token !== 'string' || !/^[A-Za-z0-9_]{20,255}$/.test(token))
    throw new GitHubError('malformed', `What ${host} gave for the code is no token. Check the web address.`);
  return token;
}
