/**
 * The pages of the device grant (RFC 8628) and their limits: a person signs in at GitHub first, then types the code that
 * their own terminal shows, then sees who asks, from where, for what, and says yes. Wrong codes are counted per sign-in
 * and per address, so that nobody finds a stranger's code by trying: each form counts as wrong from before it is looked
 * at, and a right one is taken back, so that a burst tries no more codes than one after the other.
 */
import type { IncomingMessage } from 'node:http';
import { CA_AUDIENCE } from '@beacon/protocol/name';
import { messagePage, type Page, pageHeaders, renderPage } from '@beacon/server';
import { type ErrorOut, errors, type KoaContextWithOIDC } from 'oidc-provider';
import { deviceCodePage, deviceConfirmPage } from './authorization-pages.ts';
import { paths } from './authorization-paths.ts';
import type { ProviderPages } from './authorization-provider.ts';
import type { BrowserRequest } from './github-sign-in.ts';
import { type OauthService, purposesOf } from './oauth-client.ts';
import type { SignInStore } from './sign-in-store.ts';

/** A typing mistake is human, a sixth is not. */
const MAX_WRONG_PER_SIGN_IN = 5;
const MAX_WRONG_PER_ADDRESS = 20;

export interface DevicePagesOptions {
  readonly services: ReadonlyMap<string, OauthService>;
  readonly signIns: SignInStore;
  readonly addressOf: (request: IncomingMessage) => string;
  readonly onError: (error: unknown) => void;
}

export interface DevicePages extends ProviderPages {
  /** Why a form of these pages is not taken, if so; `ends` when the sign-in is used up with it. Else call `settle` after it. */
  admit(request: BrowserRequest): Promise<{ status: number; page: Page; ends: boolean } | undefined>;
  /** Takes back the count of a form whose code was not wrong. Never rejects. */
  settle(request: BrowserRequest): Promise<void>;
}

const again = { href: paths.device, label: 'Start again' };
const PROBLEMS: Readonly<Record<string, string>> = {
  NoCodeError: 'Type the code first.',
};
/** One answer for all of them: a wrong guess does not tell whether the code was ever one (ATTACKS Q6). */
const NOT_WAITING =
  'There is no such code, or it has expired or was used before. Look at your terminal again, or start again there.';
/** What oidc-provider raises for a code that is not one that waits. */
const GUESSES = new Set(['NotFoundError', 'ExpiredError', 'AlreadyUsedError']);

export function createDevicePages(options: DevicePagesOptions): DevicePages {
  const { signIns, services, addressOf } = options;
  const guessed = new WeakSet<IncomingMessage>();
  const countsOf = (request: BrowserRequest) => [
    { signIn: request.sessionID, most: MAX_WRONG_PER_SIGN_IN },
    { address: addressOf(request), most: MAX_WRONG_PER_ADDRESS },
  ];

  return {
    async enterCode(ctx, error) {
      const { session } = browserOf(ctx) as Partial<BrowserRequest>;
      if (session === undefined) {
        // Back from the decision, where there is no form to show again.
        const refusal = error?.cause ?? error;
        const why = refusal instanceof errors.AccessDenied ? refusal.error_description : undefined;
        return show(ctx, messagePage('Not signed in', `${why ?? 'That did not work'}.`, again), 400);
      }
      const { signIn } = session;
      if (error?.name === 'AbortedError') {
        return show(ctx, messagePage('Refused', 'The sign-in was refused. Nothing was signed in.'), 200);
      }
      if (error !== undefined && GUESSES.has(error.name)) guessed.add(ctx.req);
      const xsrf = ctx.oidc.session?.state?.['secret'];
      if (signIn === undefined || typeof xsrf !== 'string') {
        return show(ctx, messagePage('Too late', 'This sign-in has ended.', again), 400);
      }
      const problem =
        error === undefined
          ? undefined
          : GUESSES.has(error.name)
            ? NOT_WAITING
            : (PROBLEMS[error.name] ?? 'That did not work. Start again in your terminal.');
      show(
        ctx,
        deviceCodePage({
          loginName: signIn.loginName,
          action: paths.device,
          xsrf,
          ...(problem === undefined ? {} : { problem }),
        }),
        error === undefined ? 200 : 400,
      );
    },

    async confirmCode(ctx, { userCode, info }) {
      const { signIn } = browserOf(ctx).session;
      const xsrf = ctx.oidc.session?.state?.['secret'];
      if (signIn === undefined || typeof xsrf !== 'string') {
        return show(ctx, messagePage('Too late', 'This sign-in has ended.', again), 400);
      }
      const { ip, ua, at } = info as { ip?: unknown; ua?: unknown; at?: unknown };
      show(
        ctx,
        deviceConfirmPage({
          loginName: signIn.loginName,
          action: paths.device,
          xsrf,
          userCode,
          clientName: ctx.oidc.client?.clientName ?? 'unknown',
          address: typeof ip === 'string' ? ip : 'unknown',
          askedAt: new Date(typeof at === 'number' ? at : 0),
          userAgent: typeof ua === 'string' && ua !== '' ? ua : 'nothing',
          purposes: purposesOf(services, resourcesOf(ctx)),
        }),
        200,
      );
    },

    async done(ctx) {
      show(ctx, messagePage('Signed in', 'Your terminal is signed in. You can close this page.'), 200);
    },

    async error(ctx, out: ErrorOut) {
      const text = out.error_description ?? out.error;
      show(
        ctx,
        messagePage('That did not work', `${text} (${out.error}). Start again where you came from.`),
        ctx.status,
      );
    },

    async admit(request) {
      if (request.session.signIn?.purpose !== 'device') {
        return { status: 400, page: messagePage('Too late', 'This sign-in has ended.', again), ends: false };
      }
      if (await signIns.countGuess(countsOf(request))) return undefined;
      return {
        status: 429,
        page: messagePage('Too many wrong codes', 'Wait ten minutes, then start again in your terminal.'),
        ends: true,
      };
    },

    async settle(request) {
      if (!guessed.has(request)) await signIns.takeBackGuess(countsOf(request)).catch(options.onError);
    },
  };
}

function show(ctx: KoaContextWithOIDC, page: Page, status: number): void {
  ctx.status = status;
  ctx.set(pageHeaders(page));
  ctx.body = renderPage(page);
}

function browserOf(ctx: KoaContextWithOIDC): BrowserRequest {
  return ctx.req as BrowserRequest;
}

/** What the device asked for stands in its code; at this point `params` are those of the form. */
function resourcesOf(ctx: KoaContextWithOIDC): string[] {
  const resource = ctx.oidc.entities.DeviceCode?.params?.['resource'] ?? CA_AUDIENCE;
  return (Array.isArray(resource) ? resource : [resource]).filter((one) => typeof one === 'string');
}
