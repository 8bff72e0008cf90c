/**
 * Where oidc-provider waits for the person: a sign-in at GitHub made for this very request, then their word. The device
 * page has asked already, with what it shows; in the code flow it is asked here, each time anew. What was said becomes a
 * grant and a Beacon session, once.
 */
import type { ServerResponse } from 'node:http';
import { messagePage, type Page } from '@beacon/server';
import type { Provider } from 'oidc-provider';
import { consentPage } from './authorization-pages.ts';
import { paths } from './authorization-paths.ts';
import { readForm } from './form.ts';
import type { BrowserRequest, GithubSignIn, SignIn, SignInPurpose } from './github-sign-in.ts';
import { type OauthService, purposesOf, SCOPE } from './oauth-client.ts';
import { keyOf } from './oauth-store.ts';
import type { Sessions } from './session.ts';
import type { SignInStore } from './sign-in-store.ts';

export interface InteractionOptions {
  readonly provider: Provider;
  readonly signIn: GithubSignIn;
  readonly signIns: SignInStore;
  readonly sessions: Pick<Sessions, 'begin'>;
  readonly services: ReadonlyMap<string, OauthService>;
  readonly maxHours: number;
  readonly sendPage: (response: ServerResponse, status: number, page: Page) => void;
  /** Records that a signed-in person's browser sent a form that was not ours. */
  readonly onForeignForm: (request: BrowserRequest, person: string) => Promise<void>;
  /** Told of a sign-in that is used up and began no session, for its person was disabled meanwhile. */
  readonly onDisabled: (request: BrowserRequest, signIn: SignIn) => Promise<void>;
}

export interface Interactions {
  /** Shows what there is to decide, or goes to GitHub first. */
  show(request: BrowserRequest, response: ServerResponse, uid: string): Promise<void>;
  /** Takes the person's word. */
  decide(request: BrowserRequest, response: ServerResponse, uid: string): Promise<void>;
}

const gone = messagePage(
  'Too late',
  'This sign-in has ended or was finished before. Start again where you came from.',
);

type Details = Awaited<ReturnType<Provider['interactionDetails']>>;

export function createInteractions(options: InteractionOptions): Interactions {
  const { provider, sendPage } = options;

  async function find(
    request: BrowserRequest,
    response: ServerResponse,
    uid: string,
  ): Promise<Details | undefined> {
    const details = await provider.interactionDetails(request, response).catch((error: unknown) => {
      if (error instanceof Error && error.name === 'SessionNotFound') return undefined;
      throw error;
    });
    if (details?.uid === uid) return details;
    sendPage(response, 400, gone);
    return undefined;
  }

  /** Makes of one sign-in one grant and one session. */
  async function finish(request: BrowserRequest, response: ServerResponse, details: Details, signIn: SignIn) {
    if (!(await options.signIns.consume(request.sessionID))) return sendPage(response, 400, gone);
    const clientId = String(details.params['client_id']);
    const grant = new provider.Grant({ accountId: signIn.person, clientId });
    for (const resource of resourcesOf(details)) grant.addResourceScope(resource, SCOPE);
    const grantId = await grant.save();
    const session = await options.sessions.begin({
      person: signIn.person,
      loginName: signIn.loginName,
      client: clientId,
      grantKey: keyOf(grantId),
      githubToken: signIn.githubToken,
    });
    if (session === undefined) {
      await grant.destroy();
      await options.onDisabled(request, signIn);
      return refuse(request, response, 'an administrator has disabled you at this certificate authority');
    }
    await provider.interactionFinished(request, response, {
      login: { accountId: signIn.person, remember: false },
      consent: { grantId },
    });
  }

  function refuse(request: BrowserRequest, response: ServerResponse, why: string): Promise<void> {
    return provider.interactionFinished(
      request,
      response,
      { error: 'access_denied', error_description: why },
      { mergeWithLastSubmission: false },
    );
  }

  function purposeOf(details: Details): SignInPurpose {
    return details.deviceCode === undefined ? `interaction/${details.uid}` : 'device';
  }

  return {
    async show(request, response, uid) {
      const details = await find(request, response, uid);
      if (details === undefined) return;
      const { signIn, xsrf } = request.session;
      const purpose = purposeOf(details);
      if (signIn?.purpose !== purpose || xsrf === undefined) {
        if (purpose === 'device') return sendPage(response, 400, gone);
        return options.signIn.begin(request, response, purpose);
      }
      if (purpose === 'device') return finish(request, response, details, signIn);
      const service = options.services.get(String(details.params['client_id']));
      const returnsTo = URL.parse(String(details.params['redirect_uri']));
      if (service === undefined || returnsTo === null) return sendPage(response, 400, gone);
      sendPage(
        response,
        200,
        consentPage({
          loginName: signIn.loginName,
          action: `${paths.interaction}/${uid}`,
          xsrf,
          serviceName: service.name,
          serviceId: service.id,
          returnsTo: returnsTo.origin,
          purposes: purposesOf(options.services, resourcesOf(details)),
          hours: options.maxHours,
        }),
      );
    },

    async decide(request, response, uid) {
      const details = await find(request, response, uid);
      if (details === undefined) return;
      const form = await readForm(request);
      const { signIn, xsrf } = request.session;
      if (signIn === undefined || signIn.purpose !== purposeOf(details) || signIn.purpose === 'device') {
        return sendPage(response, 400, gone);
      }
      if (xsrf === undefined || form?.get('xsrf') !== xsrf) {
        await options.onForeignForm(request, signIn.person);
        return sendPage(
          response,
          403,
          messagePage('Refused', 'This form did not come from our page. Go back and try again.'),
        );
      }
      if (form.get('decision') === 'allow') return finish(request, response, details, signIn);
      await refuse(request, response, 'the person refused');
    },
  };
}

function resourcesOf(details: Details): string[] {
  const { resource } = details.params;
  return (Array.isArray(resource) ? resource : [resource]).filter((one) => typeof one === 'string');
}
