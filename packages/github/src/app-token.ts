/**
 * What our app may ask about a person's token, with its client id and secret: whether it is ours, and that it end (REST
 * documentation, "OAuth authorizations"). A token that works at GitHub proves nothing by itself: any app's token reads
 * `/user`, so only this check tells whether it was made for us.
 */
import { malformed, readFields, readList } from './answer.ts';
import type { Connection } from './connection.ts';
import { GitHubError } from './error.ts';
import { type Identity, readIdentity } from './identity.ts';

export interface CheckedToken extends Identity {
  /** Empty for a GitHub App, whose permissions are set at the app. */
  readonly scopes: readonly string[];
  /** Null when it ends only by revocation. */
  readonly expiresAt: Date | null;
}

export interface AppCredentials {
  readonly clientId: string;
  readonly clientSecret: () => string;
  readonly provider: string;
}

const PATH = '/applications/{client_id}/token';

/** Throws GitHubError `foreign-token` for another app's token and for one that has ended, `app-refused`, and faults. */
export async function checkToken(
  connection: Connection,
  app: AppCredentials,
  token: string,
): Promise<CheckedToken> {
  const { data } = await asApp(connection, app, 'POST', token);
  const fields = readFields(data, 'the token');
  const owner = readFields(fields['app'], "the token's app");
  if (owner['client_id'] !== app.clientId || fields['token'] !== token) throw foreign();
  const expires = fields['expires_at'] ?? null;
  const expiresAt = typeof expires === 'string' ? new Date(expires) : null;
  if ((expires !== null && expiresAt === null) || Number.isNaN(expiresAt?.getTime())) {
    throw malformed("the token's end", 'a time or null');
  }
  return {
    ...readIdentity(readFields(fields['user'], "the token's person"), app.provider),
    scopes: readList(fields['scopes'] ?? [], "the token's scopes").map(String),
    expiresAt,
  };
}

/** Ends the token at GitHub. One that is gone already is no error. */
export async function deleteToken(connection: Connection, app: AppCredentials, token: string): Promise<void> {
  try {
    await asApp(connection, app, 'DELETE', token);
  } catch (error) {
    if (!(error instanceof GitHubError) || error.code !== 'foreign-token') throw error;
    // The documentation leaves open how a token is answered that is not there; only a check tells 422 from a mistake.
    if (error.answeredStatus === 404) return;
    await checkToken(connection, app, token).then(
      () => {
        throw malformed('the end of a token that is still there', 'possible');
      },
      (checked: unknown) => {
        if (!(checked instanceof GitHubError) || checked.code !== 'foreign-token') throw checked;
      },
    );
  }
}

async function asApp(connection: Connection, app: AppCredentials, method: 'POST' | 'DELETE', token: string) {
  const basic = Buffer.from(`${app.clientId}:${app.clientSecret()}`).toString('base64');
  try {
    return await connection.converse({ authorization: `basic ${basic}`, token }, (conversation) =>
      conversation.ask(
        `${method} ${PATH}`,
        { client_id: app.clientId, access_token: token },
        { repeatable: true },
      ),
    );
  } catch (error) {
    if (!(error instanceof GitHubError)) throw error;
    if (error.answeredStatus === 404 || error.answeredStatus === 422) throw foreign(error.answeredStatus);
    if (error.code === 'unauthorized') {
      throw new GitHubError(
        'app-refused',
        "GitHub does not accept the app's client id and secret. Check client_id and the client secret file in the configuration.",
        { answeredStatus: 401 },
      );
    }
    throw error;
  }
}

function foreign(answeredStatus?: number): GitHubError {
  return new GitHubError(
    'foreign-token',
    'The token was not made for this app, or has ended. Log in again.',
    answeredStatus === undefined ? {} : { answeredStatus },
  );
}
