/**
 * The hosts that a person may use through this broker, and what can be asked of them there, each with whether it is
 * allowed and why not; the procedures; and who the broker takes the caller for. What is allowed is the CA's word.
 */
import type { Host, HostCommand } from '@beacon/client';
import {
  type BrokerHost,
  brokerCaller,
  brokerHostDetail,
  brokerHostList,
  type OfferedProcedure,
  type ProcedureEntry,
  procedureList,
} from '@beacon/protocol/http/broker-hosts';
import { hostParams } from '@beacon/protocol/http/name';
import type { Route } from '@beacon/server';
import { defineRoute } from './define-route.ts';
import type { Door } from './door.ts';
import { hostUnknown, offeredOn } from './order-run.ts';
import type { Procedure } from './procedure.ts';

export interface HostRouteParts {
  readonly procedures: () => ReadonlyMap<string, Procedure>;
  readonly service: string;
}

const TAG = 'hosts';

export function hostRoutes(
  { procedures, service }: HostRouteParts,
  { prefix, read }: Door,
): readonly Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: `${prefix}/hosts`,
      summary: 'Lists the hosts that the caller may use',
      tag: TAG,
      access: read,
      request: {},
      responses: { 200: { description: 'Hosts', schema: brokerHostList } },
      handle: async ({ caller }) => ({
        status: 200,
        body: { hosts: (await caller.api.hosts()).filter(isUsable).map(hostEntry) },
      }),
    }),
    defineRoute({
      method: 'GET',
      path: `${prefix}/hosts/{id}`,
      summary: 'Shows a host: its commands and the procedures, with what is allowed of them',
      tag: TAG,
      access: read,
      request: { params: hostParams },
      responses: { 200: { description: 'The host', schema: brokerHostDetail } },
      handle: async ({ params, caller }) => {
        const hosts = await caller.api.hosts();
        const host = hosts.find(({ id }) => id === params.id);
        if (host === undefined || !isUsable(host)) throw hostUnknown(params.id);
        const commands = await offeredOn(params.id, caller.api);
        const offered = [...procedures().values()].map((one) => offeredProcedure(one, commands));
        return { status: 200, body: { host: hostEntry(host), commands, procedures: offered } };
      },
    }),
    defineRoute({
      method: 'GET',
      path: `${prefix}/procedures`,
      summary: 'Lists the procedures',
      tag: TAG,
      access: read,
      request: {},
      responses: { 200: { description: 'Procedures', schema: procedureList } },
      handle: () => ({
        status: 200,
        body: { procedures: [...procedures().values()].map(procedureEntry) },
      }),
    }),
    defineRoute({
      method: 'GET',
      path: `${prefix}/caller`,
      summary: 'Says who the broker takes the caller for',
      tag: TAG,
      access: read,
      request: {},
      responses: { 200: { description: 'The caller', schema: brokerCaller } },
      handle: ({ caller: { person, client, portal } }) => ({
        status: 200,
        body: {
          person,
          ...(portal === undefined ? {} : { name: portal.name }),
          service,
          ...(client === undefined ? {} : { client }),
        },
      }),
    }),
  ];
}

/** The CA shows labels and pools of those hosts alone that the caller may use or administers. */
function isUsable(host: Host): boolean {
  return host.pools !== undefined;
}

function hostEntry({ id, state, logins, labels, pools }: Host): BrokerHost {
  return { id, state, logins: [...logins], labels: { ...labels }, pools: [...(pools ?? [])] };
}

function procedureEntry({ name, summary, parameters, steps }: Procedure): ProcedureEntry {
  return {
    name,
    summary,
    params: Object.fromEntries(
      [...parameters].map(([key, { summary: what, pattern, isSecret, whenAbsent }]) => [
        key,
        {
          summary: what,
          pattern: pattern.source,
          required: whenAbsent.take === 'nothing',
          ...(isSecret ? { secret: true } : {}),
        },
      ]),
    ),
    steps: steps.map(({ command }) => command),
  };
}

/** Allowed where each of its commands is; who may do may take back. */
function offeredProcedure(procedure: Procedure, commands: readonly HostCommand[]): OfferedProcedure {
  const entry = procedureEntry(procedure);
  const found = entry.steps.map((step) => commands.find(({ command }) => command === step));
  const absent = entry.steps.find((_, at) => found[at] === undefined);
  if (absent !== undefined) {
    const text = `the host does not offer ${absent}`;
    return { ...entry, allowed: 'no', reason: { code: 'not-offered', text } };
  }
  const refused = found.find((one) => one?.allowed === 'no');
  if (refused !== undefined) return { ...entry, allowed: 'no', reason: { ...refused.reason } };
  return { ...entry, allowed: found.some((one) => one?.allowed === 'depends') ? 'depends' : 'yes' };
}
