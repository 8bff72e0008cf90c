/**
 * Signing in at GitHub: the web flow by passport-github2, with `state` and PKCE (S256) bound to the browser's cookie, and
 * a callback address that comes from the configuration alone; the code goes to GitHub by the github package, within its
 * bounds. A token that comes back is believed only after GitHub has
 * said that it was made for our app. A sign-in is for one purpose and works once; its cookie gets a new id when GitHub
 * has answered, so that nobody can have planted it.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type GitHub, GitHubError, type Identity } from '@beacon/github';
import type { Session as BrowserSession, SessionData } from 'express-session';
import passport from 'passport';
import { Strategy, type StrategyOptions } from 'passport-github2';

/** Where GitHub sends people back to, below the public URL: the callback URL of the GitHub App. */
export const GITHUB_CALLBACK_PATH = '/sign-in/github/callback';

/** What a sign-in was begun for: the device page, or one interaction of oidc-provider. */
export type SignInPurpose = 'device' | `interaction/${string}`;

export interface SignIn {
  readonly purpose: SignInPurpose;
  readonly person: string;
  readonly loginName: string;
  readonly githubToken: string;
}

declare module 'express-session' {
  interface SessionData {
    pending: SignInPurpose;
    signIn: SignIn;
    /** Stands in every form of ours. */
    xsrf: string;
  }
}

/** A request that has passed express-session. */
export type BrowserRequest = IncomingMessage & {
  session: BrowserSession & Partial<SessionData>;
  sessionID: string;
};

export type SignInRefusalCode =
  | 'state'
  | 'refused-at-github'
  | 'code-refused'
  | 'token-foreign'
  | 'person-disabled'
  | 'github-unavailable';

/** Why nobody was signed in, for the record and for the page. */
export class SignInRefusal extends Error {
  readonly code: SignInRefusalCode;
  readonly status: number;
  readonly person: string | undefined;

  constructor(code: SignInRefusalCode, options: { readonly cause?: unknown; readonly person?: string } = {}) {
    super(refusals[code].text, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'SignInRefusal';
    this.code = code;
    this.status = refusals[code].status;
    this.person = options.person;
  }
}

const refusals = {
  state: {
    status: 403,
    text: 'This answer from GitHub does not belong to a sign-in that was begun in this browser. Start again where you came from.',
  },
  'refused-at-github': {
    status: 403,
    text: 'The sign-in was refused at GitHub. Start again where you came from.',
  },
  'code-refused': {
    status: 403,
    text: 'GitHub did not accept the sign-in. Start again where you came from.',
  },
  'token-foreign': {
    status: 401,
    text: 'GitHub says that the sign-in was not made for this app. Start again where you came from.',
  },
  'person-disabled': {
    status: 403,
    text: 'An administrator has disabled you at this certificate authority. Ask them why.',
  },
  'github-unavailable': { status: 503, text: 'GitHub does not answer as it should. Try again in a minute.' },
} as const satisfies Record<SignInRefusalCode, { status: number; text: string }>;

export interface GithubSignInOptions {
  readonly publicUrl: string;
  readonly github: Pick<GitHub, 'urls' | 'exchangeCode' | 'checkToken' | 'readIdentity' | 'deleteToken'>;
  readonly clientId: string;
  readonly isDisabled: (person: string) => Promise<boolean>;
}

export interface GithubSignIn {
  /** Sends the browser to GitHub, when what it is to come back with is kept: rejects when it cannot be. */
  begin(request: BrowserRequest, response: ServerResponse, purpose: SignInPurpose): Promise<void>;
  /** GitHub's answer. Resolves with the purpose when somebody is signed in; throws SignInRefusal. */
  complete(request: BrowserRequest): Promise<SignInPurpose>;
}

type Verified = (error: Error | null, found?: { readonly token: string }) => void;
type Authenticated = (
  error: unknown,
  found: { readonly token: string } | false,
  challenge: unknown,
  status?: number,
) => void;

export function createGithubSignIn(options: GithubSignInOptions): GithubSignIn {
  const { github } = options;
  const callbackUrl = `${options.publicUrl}${GITHUB_CALLBACK_PATH}`;
  const authenticator = new passport.Passport();
  authenticator.use(
    'github',
    new BoundedStrategy(
      {
        clientID: options.clientId,
        // The github package has the secret; here it would only stand about.
        clientSecret: 'kept elsewhere',
        callbackURL: callbackUrl,
        authorizationURL: github.urls.authorize,
        tokenURL: github.urls.token,
        userProfileURL: github.urls.profile,
        // The typings know `state` as a text only; `true` is what keeps a nonce per browser (passport-oauth2).
        state: true as unknown as string,
        // Means S256.
        pkce: true,
        // Who it is is asked only after the token has been found to be ours.
        skipUserProfile: true,
      },
      ((token: string, _refresh: unknown, _profile: unknown, done: Verified) =>
        done(null, { token })) as never,
      ({ code, codeVerifier }) => github.exchangeCode({ code, codeVerifier, redirectUri: callbackUrl }),
    ),
  );

  /** Runs the strategy; resolves with the token, or with the address to send the browser to. */
  function authenticate(request: BrowserRequest): Promise<{ token: string } | { location: string }> {
    return new Promise((resolve, reject) => {
      const answered: Authenticated = (error, found, _challenge, status) => {
        if (error !== null && error !== undefined) {
          // Passport's own error is wrapped around it, and says nothing of it.
          const cause = error instanceof Error && 'oauthError' in error ? error.oauthError : error;
          const refused = !(cause instanceof GitHubError) || cause.code === 'refused';
          reject(new SignInRefusal(refused ? 'code-refused' : 'github-unavailable', { cause }));
        } else if (found === false) reject(new SignInRefusal(status === 403 ? 'state' : 'refused-at-github'));
        else resolve(found);
      };
      // Passport would send the browser away before what it must come back with is kept.
      let location = '';
      const response = {
        setHeader: (name: string, value: string) => {
          if (name === 'Location') location = value;
        },
        end: () => resolve({ location }),
      };
      authenticator.authenticate('github', { session: false }, answered as never)(request, response, reject);
    });
  }

  async function identify(token: string): Promise<Identity> {
    try {
      const checked = await github.checkToken(token);
      const identity = await github.readIdentity(token);
      if (checked.person !== identity.person) throw new SignInRefusal('token-foreign');
      return identity;
    } catch (error) {
      if (error instanceof SignInRefusal) throw error;
      const foreign = error instanceof GitHubError && ['foreign-token', 'unauthorized'].includes(error.code);
      throw new SignInRefusal(foreign ? 'token-foreign' : 'github-unavailable', { cause: error });
    }
  }

  return {
    async begin(request, response, purpose) {
      request.session.pending = purpose;
      const answer = await authenticate(request);
      if (!('location' in answer)) throw new SignInRefusal('state');
      await saveSession(request);
      response.writeHead(302, { location: answer.location, 'content-length': '0' }).end();
    },

    async complete(request) {
      const { pending } = request.session;
      const query = new URL(request.url ?? '/', options.publicUrl).searchParams;
      // Without a code the strategy would begin anew instead of judging an answer.
      if (pending === undefined || !(query.has('code') || query.has('error')))
        throw new SignInRefusal('state');
      Object.defineProperty(request, 'query', { value: Object.fromEntries(query), configurable: true });
      const answer = await authenticate(request);
      if (!('token' in answer)) throw new SignInRefusal('state');
      const { token } = answer;
      const { person, login } = await identify(token);
      if (await options.isDisabled(person)) {
        await github.deleteToken(token).catch(() => undefined);
        throw new SignInRefusal('person-disabled', { person });
      }
      const unused = request.session.signIn?.githubToken;
      await renewSession(request);
      if (unused !== undefined) await github.deleteToken(unused).catch(() => undefined);
      request.session.signIn = { purpose: pending, person, loginName: login, githubToken: token };
      request.session.xsrf = randomBytes(24).toString('base64url');
      await saveSession(request);
      return pending;
    },
  };
}

/** Passport's strategy, but for the one question that it asks of GitHub itself, without end and without bound. */
class BoundedStrategy extends Strategy {
  constructor(
    options: StrategyOptions,
    verify: never,
    exchange: (asked: { code: string; codeVerifier: string }) => Promise<string>,
  ) {
    super(options, verify);
    // passport-oauth2 keeps its client there, and documents that it may be adapted.
    const client = (this as unknown as { _oauth2: { getOAuthAccessToken: ExchangeWithCallback } })._oauth2;
    client.getOAuthAccessToken = (code, { code_verifier: codeVerifier = '' }, done) => {
      exchange({ code, codeVerifier }).then((token) => done(null, token, undefined, {}), done);
    };
  }
}

type ExchangeWithCallback = (
  code: string,
  parameters: { readonly code_verifier?: string },
  done: (error: unknown, token?: string, refreshToken?: string, more?: object) => void,
) => void;

function renewSession(request: BrowserRequest): Promise<void> {
  return new Promise((resolve, reject) => {
    request.session.regenerate((error: unknown) => (error ? reject(error) : resolve()));
  });
}

function saveSession(request: BrowserRequest): Promise<void> {
  return new Promise((resolve, reject) => {
    request.session.save((error: unknown) => (error ? reject(error) : resolve()));
  });
}
