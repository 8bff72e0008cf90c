/** The broker's words of access, and whom a route sees. */
import type { CaApi } from '@beacon/client';
import { routeDefiner } from '@beacon/server';

/**
 * `api`: a program with the person's token and a proof. `portal`: the person's browser, by cookie. `portal-change`: the
 * same, from a page of our own. `portal-leave`: that too, also while the CA does not answer.
 */
export type Access = 'api' | 'portal' | 'portal-change' | 'portal-leave';

/** Who is asking. What they may do is policy's to say, at the CA, for this broker. */
export interface BrokerCaller {
  readonly person: string;
  /** The session at the CA: the same for the same login. */
  readonly sessionKey: string;
  /** The program that asks; undefined for the portal. */
  readonly client: string | undefined;
  readonly api: CaApi;
  /** Until when what was shown is good; a stream that is open ends then. */
  readonly goodUntil: Date;
  /** Whether the caller would still be let in. */
  isStillThere(): Promise<boolean>;
  /** The cookie's session; undefined for a program. */
  readonly portal?: { readonly name: string; end(): Promise<boolean> };
}

export const defineRoute = routeDefiner<BrokerCaller, Access>();
