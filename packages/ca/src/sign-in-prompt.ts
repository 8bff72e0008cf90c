/** When oidc-provider must ask the person: for every login, anew. */
import { interactionPolicy } from 'oidc-provider';

/** One prompt: a sign-in at GitHub and the person's word, made for this request. Nothing earlier stands for it. */
export function signInPolicy(): interactionPolicy.DefaultPolicy {
  const { base, Check, Prompt } = interactionPolicy;
  const policy = base();
  policy.clear();
  policy.add(
    new Prompt(
      { name: 'login', requestable: true },
      new Check('sign_in', 'a sign-in at GitHub is needed', (ctx) => {
        const { result } = ctx.oidc;
        return result?.login === undefined || result.consent?.grantId === undefined;
      }),
    ),
  );
  return policy;
}
