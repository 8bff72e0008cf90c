/** All routes of a broker: those for programs, the same for the portal, and what everybody may ask. */
import { brokerFacts } from '@beacon/protocol/http/broker-hosts';
import { defineRoute as definePublicRoute, type Route } from '@beacon/server';
import { CSRF_HEADER } from './authenticate.ts';
import { defineRoute } from './define-route.ts';
import { portalDoor, programDoor } from './door.ts';
import { type HostRouteParts, hostRoutes } from './host-routes.ts';
import { type CookieForm, formatCookie } from './portal-cookie.ts';
import { type RunRouteParts, runRoutes } from './run-routes.ts';
import { type RunnerRouteParts, runnerRoutes } from './runner-routes.ts';
import { type TraceRouteParts, traceRoutes } from './trace-routes.ts';

export interface BrokerRouteParts
  extends HostRouteParts,
    RunRouteParts,
    Omit<RunnerRouteParts, 'records' | 'runs'>,
    TraceRouteParts {
  /** The CA's public URL. */
  readonly ca: string;
  readonly cookie: CookieForm;
}

export function brokerRoutes(parts: BrokerRouteParts): {
  readonly programs: readonly Route[];
  readonly portal: readonly Route[];
} {
  const [programs, portal] = [programDoor, portalDoor].map((door) => [
    ...hostRoutes(parts, door),
    ...runRoutes(parts, door),
    ...traceRoutes(parts, door),
    ...runnerRoutes(parts, door),
  ]);
  return {
    programs: [factsRoute(parts), ...(programs ?? [])],
    portal: [...(portal ?? []), logOutRoute(parts)],
  };
}

function factsRoute({ service, ca }: BrokerRouteParts): Route {
  return definePublicRoute({
    method: 'GET',
    path: '/.well-known/beacon',
    summary: 'Which service this broker is, and whose tokens it takes',
    tag: 'operation',
    access: 'public',
    request: {},
    responses: { 200: { description: 'The broker', schema: brokerFacts } },
    handle: () => ({ status: 200, body: { v: 1, service, ca } }),
  });
}

function logOutRoute({ cookie }: BrokerRouteParts): Route {
  return defineRoute({
    method: 'DELETE',
    path: `${portalDoor.prefix}/session`,
    summary: `Logs the browser out, here and at the CA; with the header ${CSRF_HEADER}`,
    tag: 'session',
    access: 'portal-leave',
    request: {},
    responses: { 204: { description: 'Nobody is logged in any more' } },
    handle: async ({ caller }) => {
      await caller.portal?.end();
      return { status: 204, headers: { 'set-cookie': formatCookie(cookie, undefined) } };
    },
  });
}
