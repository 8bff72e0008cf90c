/** Hosts, persons and sessions over HTTP. */
import { MIN_LIFETIME_SECONDS } from '@beacon/protocol/http/certificates';
import { hostCommands, hostCommandsQuery } from '@beacon/protocol/http/host-commands';
import {
  type HostEntry,
  host,
  hostAnswer,
  hostChange,
  hostChanged,
  hostList,
  hostRequest,
} from '@beacon/protocol/http/hosts';
import { hostParams, personParams, sessionParams } from '@beacon/protocol/http/name';
import {
  disabledPersons,
  personChange,
  personChanged,
  type SessionEntry,
  sessionEnded,
  sessionList,
  sessionQuery,
  whoami,
} from '@beacon/protocol/http/persons';
import type { Route } from '@beacon/server';
import { fingerprint, parsePublicKeyLine } from '@beacon/ssh/public-key';
import type { Caller } from './access-token.ts';
import { hasAuthority, requireAuthority } from './authority.ts';
import type { Ca } from './ca.ts';
import { wouldAllow } from './decision.ts';
import { defineRoute } from './define-route.ts';
import { CaError } from './error.ts';
import { findRunHosts, listHostCommands } from './host-commands.ts';
import { addHost, findHost, type Host, listHosts, setHostState } from './hosts.ts';
import { disablePerson, enablePerson, listDisabled } from './persons.ts';
import { pinRules } from './rules.ts';
import type { Session } from './session.ts';
import { createTurns } from './turn.ts';
import { write } from './write.ts';

export function inventoryRoutes(ca: Ca): readonly Route[] {
  return [...hostRoutes(ca), ...personRoutes(ca), ...sessionRoutes(ca)];
}

function hostRoutes(ca: Ca): readonly Route[] {
  const stateRoute = (state: Host['state'], verb: string) =>
    defineRoute({
      method: 'POST',
      path: `/v1/hosts/{id}/${verb}`,
      summary: state === 'disabled' ? 'Issue nothing more for a host' : 'Take a disabled host into use again',
      tag: 'hosts',
      access: 'write',
      request: { params: hostParams, body: hostChange },
      responses: { 200: { description: 'the host', schema: hostChanged } },
      handle: async ({ params, body, caller, request }) => {
        const changed = await setHostState(
          ca,
          caller,
          { id: params.id, state, reason: body.reason },
          request.ip,
        );
        return { status: 200, body: { host: hostEntry(changed.host, true), record: changed.record } };
      },
    });
  return [
    defineRoute({
      method: 'POST',
      path: '/v1/hosts',
      summary: 'Register a host and sign its host certificate; the same values again renew the certificate',
      tag: 'hosts',
      access: 'write',
      request: { body: hostRequest },
      responses: { 201: { description: 'the host and its certificate', schema: hostAnswer } },
      handle: async ({ body, caller, request }) => {
        const added = await addHost(ca, caller, body, request.ip);
        return {
          status: 201,
          body: {
            host: hostEntry(added.host, true),
            certificate: added.certificate,
            serial: added.serial.toString(),
            valid_before: added.validBefore.toISOString(),
            record: added.record,
          },
        };
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/hosts',
      summary:
        'The hosts that one may log in to, or through a service run something on; all of them with ca.hosts',
      tag: 'hosts',
      access: 'read',
      request: {},
      responses: { 200: { description: 'hosts', schema: hostList } },
      handle: async ({ caller, request }) => {
        const all = await hasAuthority(ca, caller, 'ca.hosts', request.ip);
        const hosts = await listHosts(ca);
        const visible = all ? hosts : await usableHosts(ca, caller, hosts, request.ip);
        return { status: 200, body: { hosts: visible.map((one) => hostEntry(one, true)) } };
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/hosts/{id}',
      summary: 'One host: its logins; its address and labels for who may use it or has ca.hosts',
      tag: 'hosts',
      access: 'read',
      request: { params: hostParams },
      responses: { 200: { description: 'the host', schema: host } },
      handle: async ({ params, caller, request }) => {
        const found = await findHost(ca, params.id);
        const whole =
          (await hasAuthority(ca, caller, 'ca.hosts', request.ip)) ||
          (await usableHosts(ca, caller, [found], request.ip)).length > 0;
        return { status: 200, body: hostEntry(found, whole) };
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/hosts/{id}/commands',
      summary: 'The commands that a host offers, and which of them one may run there through this service',
      tag: 'hosts',
      access: 'read',
      request: { params: hostParams, query: hostCommandsQuery },
      responses: {
        200: { description: 'commands, with reasons for what is not allowed', schema: hostCommands },
      },
      handle: async ({ params, query, caller, request }) => ({
        status: 200,
        body: await listHostCommands(ca, caller, params.id, {
          ip: request.ip,
          only: query.only?.split(','),
        }),
      }),
    }),
    stateRoute('disabled', 'disable'),
    stateRoute('enabled', 'enable'),
  ];
}

/** Those of the hosts that the caller may log in to or, through a service, run something on; all by the same rules. */
async function usableHosts(
  running: Ca,
  caller: Caller,
  hosts: readonly Host[],
  ip: string,
): Promise<readonly Host[]> {
  const ca = pinRules(running);
  const memberships = await ca.memberships(caller, ca.policy);
  const { person, service } = caller;
  const asked = { person, service, memberships, lifetimeSeconds: MIN_LIFETIME_SECONDS, ip };
  const isForRuns = ca.services.get(service)?.may.includes('run-certificates') === true;
  const forRuns = isForRuns ? await findRunHosts(ca, { caller, memberships, ip }, hosts) : new Set<string>();
  const found: Host[] = [];
  const nextTurn = createTurns();
  for (const host of hosts) {
    const isUsable =
      forRuns.has(host.id) || host.logins.some((login) => wouldAllow(ca, { ...asked, host, login }));
    if (isUsable) found.push(host);
    await nextTurn();
  }
  return found;
}

function hostEntry(one: Host, whole: boolean): HostEntry {
  const { id, state, address, port, labels, pools } = one;
  const logins = [...one.logins];
  if (!whole) return { id, state, logins };
  return {
    id,
    state,
    logins,
    address,
    port,
    labels: { ...labels },
    pools: [...pools],
    host_key: fingerprint(parsePublicKeyLine(one.host_key).key),
  };
}

function personRoutes(ca: Ca): readonly Route[] {
  const changeRoute = (verb: 'disable' | 'enable', change: typeof disablePerson) =>
    defineRoute({
      method: 'POST',
      path: `/v1/persons/{person}/${verb}`,
      summary:
        verb === 'disable'
          ? 'Let a person do nothing more, and end their sessions'
          : 'Let a disabled person act again',
      tag: 'persons',
      access: 'write',
      request: { params: personParams, body: personChange },
      responses: { 200: { description: 'the person', schema: personChanged } },
      handle: async ({ params, body, caller, request }) => {
        const done = await change(ca, caller, { person: params.person, reason: body.reason }, request.ip);
        const state = verb === 'disable' ? ('disabled' as const) : ('enabled' as const);
        return {
          status: 200,
          body: { person: params.person, state, sessions_ended: done.sessionsEnded, record: done.record },
        };
      },
    });
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/persons',
      summary: 'The persons that are disabled',
      tag: 'persons',
      access: 'read',
      request: {},
      responses: { 200: { description: 'disabled persons', schema: disabledPersons } },
      handle: async ({ caller, request }) => {
        await requireAuthority(ca, caller, 'ca.persons', request.ip);
        const disabled = (await listDisabled(ca)).map((row) => ({
          person: row.person,
          since: new Date(row.since).toISOString(),
          by: row.by_person,
          reason: row.reason,
        }));
        return { status: 200, body: { disabled } };
      },
    }),
    changeRoute('disable', disablePerson),
    changeRoute('enable', enablePerson),
  ];
}

function sessionRoutes(ca: Ca): readonly Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/sessions',
      summary: "One's own sessions; another person's with ca.persons",
      tag: 'sessions',
      access: 'read',
      request: { query: sessionQuery },
      responses: { 200: { description: 'sessions that go on', schema: sessionList } },
      handle: async ({ query, caller, request }) => {
        const person = query.person ?? caller.person;
        if (person !== caller.person) await requireAuthority(ca, caller, 'ca.persons', request.ip);
        const sessions = await ca.sessions.listAlive(person);
        return { status: 200, body: { sessions: sessions.map((session) => sessionEntry(session, caller)) } };
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/sessions/current',
      summary: 'Who the CA takes the caller for',
      tag: 'sessions',
      access: 'read',
      request: {},
      responses: { 200: { description: 'the caller', schema: whoami } },
      handle: async ({ caller }) => {
        const session = await ca.sessions.findAlive(caller.sessionId);
        if (session === undefined)
          throw new CaError('session-ended', 'your session has ended: run `beacon login`');
        const { organizations, teams, readAt } = await ca.memberships(caller, ca.policy);
        const memberships = {
          read_at: readAt.toISOString(),
          organizations: [...organizations.in],
          teams: [...teams.in],
          unknown: [...organizations.unknown, ...teams.unknown.map(({ id, why }) => ({ id, why }))],
        };
        return {
          status: 200,
          body: { session: sessionEntry(session, caller), service: caller.service, memberships },
        };
      },
    }),
    defineRoute({
      method: 'DELETE',
      path: '/v1/sessions/{id}',
      summary: "End a session: one's own, or anybody's with ca.persons",
      tag: 'sessions',
      access: 'write',
      request: { params: sessionParams },
      responses: { 200: { description: 'ended, durably', schema: sessionEnded } },
      handle: async ({ params, caller, request }) => {
        const session = await ca.sessions.findAlive(params.id);
        const own = session?.person === caller.person;
        if (!own) await requireAuthority(ca, caller, 'ca.persons', request.ip);
        if (session === undefined) throw new CaError('session-unknown', `no session ${params.id} goes on`);
        const record = await write(ca, caller, async (tx) => {
          await ca.sessions.end(tx, session.id, own ? 'person' : 'administrator');
          return ca.records.append(tx, {
            kind: 'session-end-asked',
            person: caller.person,
            service: caller.service,
            facts: { of: session.person, source: await ca.records.hide(tx, request.ip, caller.person) },
          });
        });
        await ca.sessions.releaseTokens();
        return { status: 200, body: { session: session.id, record: { seq: record.seq, hash: record.hash } } };
      },
    }),
  ];
}

function sessionEntry(session: Session, caller: Caller): SessionEntry {
  return {
    id: session.id,
    person: session.person,
    name: session.loginName,
    client: session.client,
    started_at: session.startedAt.toISOString(),
    ends_at: session.endsAt.toISOString(),
    current: session.id === caller.sessionId,
  };
}
