/**
 * Faults by name, for tables of what goes wrong: an endpoint, for every repository and organisation, and a way to fail.
 * Each mode answers as GitHub words it for that status (RUNNER.md sections 1, 3 and 7).
 */
import { StandinError } from './error.ts';
import type { Fault, FaultEffect } from './fault.ts';

const everywhere = (end: string): readonly string[] => [
  `/repos/*/*/actions/runners${end}`,
  `/orgs/*/actions/runners${end}`,
];

/** What Beacon asks, what a host fetches, and what the small runner asks. */
const ENDPOINTS = {
  'registration-token': { method: 'POST', path: everywhere('/registration-token') },
  'list-runners': { method: 'GET', path: everywhere('') },
  'show-runner': { method: 'GET', path: everywhere('/{id}') },
  'remove-runner': { method: 'DELETE', path: everywhere('/{id}') },
  downloads: { method: 'GET', path: everywhere('/downloads') },
  groups: { method: 'GET', path: '/orgs/*/actions/runner-groups' },
  installations: { method: 'GET', path: '/user/installations' },
  repositories: { method: 'GET', path: '/user/installations/{id}/repositories' },
  jit: { method: 'POST', path: everywhere('/generate-jitconfig') },
  archive: { method: 'GET', path: '/actions/runner/releases/download/*' },
  'runner-registration': { method: 'POST', path: '/actions/runner-registration' },
  'runner-session': { method: 'POST', path: '/_services/session' },
} as const satisfies Record<string, Pick<Fault, 'method' | 'path'>>;

export type FaultEndpoint = keyof typeof ENDPOINTS;

const answer = (status: number, message: string, headers: Record<string, string> = {}): FaultEffect => ({
  kind: 'answer',
  status,
  headers,
  body: { message, documentation_url: 'https://docs.github.com/rest', status: String(status) },
});

/** `seconds` is how long it takes, or how long GitHub asks to wait. */
const MODES = {
  slow: (seconds: number) => ({ kind: 'delay', delayMs: seconds * 1000 }),
  403: () =>
    answer(403, 'Resource not accessible by integration', {
      'x-accepted-github-permissions': 'administration=write; organization_self_hosted_runners=write',
    }),
  404: () => answer(404, 'Not Found'),
  409: () => answer(409, 'Already exists - A runner exists with the same name.'),
  422: () => answer(422, 'Runner is currently running a job and cannot be deleted.'),
  429: (seconds: number) => ({ kind: 'too-many-requests', seconds }),
  503: (seconds: number) => answer(503, 'Service Unavailable', { 'retry-after': String(seconds) }),
  'lost-reply': () => ({ kind: 'lost-reply' }),
} as const satisfies Record<string, (seconds: number) => FaultEffect>;

export type FaultMode = `${keyof typeof MODES}`;

export const FAULT_ENDPOINTS = Object.keys(ENDPOINTS);
export const FAULT_MODES = Object.keys(MODES);

/** The fault of those names; it strikes `times` times, or until it is cleared. Throws StandinError `configuration`. */
export function namedFault(given: {
  readonly endpoint: string;
  readonly mode: string;
  readonly times?: number;
  /** 30 unless given. */
  readonly seconds?: number;
}): Fault {
  const endpoint = FAULT_ENDPOINTS.find((one) => one === given.endpoint) as FaultEndpoint | undefined;
  const mode = FAULT_MODES.find((one) => one === given.mode) as FaultMode | undefined;
  if (endpoint === undefined || mode === undefined) {
    throw new StandinError(
      'configuration',
      `endpoint is one of ${FAULT_ENDPOINTS.join(', ')}; mode one of ${FAULT_MODES.join(', ')}`,
    );
  }
  return {
    ...ENDPOINTS[endpoint],
    effect: MODES[mode](given.seconds ?? 30),
    ...(given.times === undefined ? {} : { times: given.times }),
  };
}
