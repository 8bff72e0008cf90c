/**
 * What a browser asks for between GitHub and the person's decision: the device page, GitHub's answer, the way out. A
 * refusal of somebody whom GitHub has named leaves a record; a stranger's leaves a log line alone, for anybody can be one
 * and would fill the store. Does not know the OAuth of it: that is oidc-provider's, behind `toProvider`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { GitHub } from '@beacon/github';
import {
  type GroupCommit,
  type Log,
  messagePage,
  type Records,
  type RecordTables,
  sendPage,
} from '@beacon/server';
import { paths } from './authorization-paths.ts';
import type { BrowserHandler } from './browser-session.ts';
import type { DevicePages } from './device-pages.ts';
import {
  type BrowserRequest,
  GITHUB_CALLBACK_PATH,
  type GithubSignIn,
  SignInRefusal,
} from './github-sign-in.ts';
import type { SignInStore } from './sign-in-store.ts';

export interface SignInRouteOptions {
  readonly write: GroupCommit<RecordTables>['write'];
  readonly records: Pick<Records, 'append' | 'hide'>;
  readonly github: Pick<GitHub, 'deleteToken'>;
  readonly signIn: GithubSignIn;
  readonly signIns: SignInStore;
  readonly devicePages: DevicePages;
  readonly addressOf: (request: IncomingMessage) => string;
  /** Hands a request to oidc-provider, which shall see nothing of an earlier login. */
  readonly toProvider: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  readonly forgetAuthorization: (request: IncomingMessage) => void;
  readonly log: Pick<Log, 'warn'>;
}

export interface SignInRoutes {
  /** By `METHOD path`. */
  readonly handlers: Readonly<Record<string, BrowserHandler>>;
  /** Keeps one record of a refusal of a person who is known. Resolves when it is durable. */
  recordRefusal(request: IncomingMessage, code: string, person: string): Promise<void>;
  /** Deletes at GitHub the token of a sign-in that will not be used. Never rejects. */
  deleteLoose(token: string): Promise<void>;
}

export function createSignInRoutes(options: SignInRouteOptions): SignInRoutes {
  const { write, records, signIn, signIns, devicePages, addressOf, toProvider, log } = options;

  async function showDevice(request: BrowserRequest, response: ServerResponse): Promise<void> {
    if (request.session.signIn?.purpose !== 'device') return signIn.begin(request, response, 'device');
    options.forgetAuthorization(request);
    // A code in the link would spare the person the look at their own terminal (RFC 8628 section 5.4).
    request.url = paths.device;
    await toProvider(request, response);
  }

  async function takeDevice(request: BrowserRequest, response: ServerResponse): Promise<void> {
    const refusal = await devicePages.admit(request);
    if (refusal === undefined) {
      try {
        return await toProvider(request, response);
      } finally {
        await devicePages.settle(request);
      }
    }
    const { signIn: ended } = request.session;
    if (ended !== undefined && refusal.ends) {
      await recordRefusal(request, 'codes-wrong', ended.person);
      await endSignIn(request);
    }
    sendPage(response, refusal.status, refusal.page);
  }

  async function completeSignIn(request: BrowserRequest, response: ServerResponse): Promise<void> {
    try {
      const purpose = await signIn.complete(request);
      response.writeHead(303, { location: `/${purpose}`, 'cache-control': 'no-store' }).end();
    } catch (error) {
      if (!(error instanceof SignInRefusal)) throw error;
      const { code, person } = error;
      // The message alone: the errors below passport carry GitHub's answer with them.
      const reason = error.cause instanceof Error ? error.cause.message.slice(0, 200) : undefined;
      log.warn({ code, reason, address: addressOf(request) }, 'a sign-in failed');
      if (person !== undefined) await recordRefusal(request, code, person);
      sendPage(response, error.status, messagePage('Not signed in', error.message));
    }
  }

  async function signOut(request: BrowserRequest, response: ServerResponse): Promise<void> {
    if (request.session.signIn !== undefined) await endSignIn(request);
    const text = 'The sign-in was thrown away. You can close this page.';
    sendPage(response, 200, messagePage('Signed out', text));
  }

  async function recordRefusal(request: IncomingMessage, code: string, person: string): Promise<void> {
    await write(async (tx) => {
      const source = await records.hide(tx, addressOf(request), person);
      await records.append(tx, { kind: 'sign-in-refused', person, facts: { code, source } });
    });
  }

  /** Forgets a sign-in that will not be used, here and at GitHub. */
  async function endSignIn(request: BrowserRequest): Promise<void> {
    const token = request.session.signIn?.githubToken;
    const mine = await signIns.consume(request.sessionID);
    await new Promise<void>((resolve) => request.session.destroy(() => resolve()));
    if (mine && token !== undefined) await deleteLoose(token);
  }

  async function deleteLoose(token: string): Promise<void> {
    await options.github
      .deleteToken(token)
      .catch((error: unknown) =>
        log.warn({ err: error }, 'the GitHub token of an unused sign-in was not deleted'),
      );
  }

  return {
    handlers: {
      [`GET ${paths.device}`]: showDevice,
      [`POST ${paths.device}`]: takeDevice,
      [`GET ${GITHUB_CALLBACK_PATH}`]: completeSignIn,
      'POST /sign-out': signOut,
    },
    recordRefusal,
    deleteLoose,
  };
}
