/**
 * From what a person asks for to an order that can be written down: one command of the host, or a procedure, planned whole
 * against what the host offers, every value matched with the host's own pattern before anything is asked of anybody. A
 * single command is planned as a procedure of one step.
 */

import { createHmac } from 'node:crypto';
import type { CaApi, HostCommand } from '@beacon/client';
import { ClientError } from '@beacon/client';
import type { Runners } from '@beacon/github';
import type { RunRequest } from '@beacon/protocol/http/runs';
import { isName } from '@beacon/protocol/name';
import { didYouMean } from '@beacon/protocol/nearest';
import { compilePattern } from '@beacon/protocol/pattern';
import type { Sealer } from '@beacon/server';
import { BrokerError } from './error.ts';
import { missingFacts, planProcedure } from './plan-procedure.ts';
import type { Procedure, ProcedureStep } from './procedure.ts';
import { completeFromGitHub } from './procedure-defaults.ts';
import type { RunOrder } from './run-order.ts';

export interface OrderingContext {
  readonly procedures: ReadonlyMap<string, Procedure>;
  readonly runners: Runners;
  readonly sealer: Pick<Sealer, 'derive'>;
}

export interface OrderingCaller {
  readonly person: string;
  readonly client: string | undefined;
  readonly api: Pick<CaApi, 'hostCommands' | 'githubToken'>;
}

/** More than these the CA does not let be named at once. */
const MOST_NAMED = 64;

/** What is asked for; a retry asks for what another run was. */
export type Asked = Omit<RunRequest, 'v'>;

/**
 * The order. Throws BrokerError `host-unknown`, `command-unknown`, `procedure-unknown`, `params-malformed`,
 * `procedure-refused`, `github-…`; ClientError for what the CA says.
 */
export async function orderRun(
  asked: Asked,
  caller: OrderingCaller,
  context: OrderingContext,
  { mark, ...more }: Pick<RunOrder, 'idempotencyKey' | 'retryOf'> & { readonly mark?: string | undefined },
): Promise<RunOrder> {
  const commands = await commandsFor(asked, caller.api, context.procedures);
  const procedure = procedureOf(asked, commands, context.procedures);
  const params = await completed(asked, procedure, caller, context);
  const plan = planProcedure(procedure, {
    host: asked.host,
    params,
    secretNames: Object.keys(asked.secrets ?? {}),
    commands,
    mark,
  });
  if (plan.kind === 'refused') {
    throw new BrokerError(
      asked.command === undefined ? 'procedure-refused' : 'params-malformed',
      plan.reason,
    );
  }
  const first = commands.find(({ command }) => command === plan.steps[0].command);
  return {
    person: caller.person,
    service: caller.client,
    host: asked.host,
    login: asked.login ?? first?.login ?? '',
    title: procedure.name,
    kind: asked.command === undefined ? 'procedure' : 'command',
    params: asked.params,
    steps: plan.steps,
    ...(plan.github === undefined ? {} : { github: plan.github }),
    fingerprint: fingerprintOf(asked, caller, context.sealer),
    ...more,
  };
}

/** The commands that can be in it; all that the host offers where one of them is missing, for who has to say so. */
async function commandsFor(
  { host, command, procedure }: Asked,
  api: Pick<CaApi, 'hostCommands'>,
  procedures: OrderingContext['procedures'],
): Promise<readonly HostCommand[]> {
  const steps = procedures.get(procedure ?? '')?.steps ?? [];
  const ofSteps = steps.flatMap((step) => [step, ...(step.undo === undefined ? [] : [step.undo])]);
  const names = [...new Set(command === undefined ? ofSteps.map((one) => one.command) : [command])];
  if (names.length === 0 || names.length > MOST_NAMED || !names.every((name) => isName('command', name)))
    return offeredOn(host, api);
  const offered = await offeredOn(host, api, names);
  const isWhole = names.every((name) => offered.some((one) => one.command === name));
  return isWhole ? offered : offeredOn(host, api);
}

/** Throws BrokerError `host-unknown` for a host that is not there, or that the person may do nothing on. */
export async function offeredOn(
  host: string,
  api: Pick<CaApi, 'hostCommands'>,
  only?: readonly string[],
): Promise<readonly HostCommand[]> {
  try {
    return await api.hostCommands(host, only);
  } catch (error) {
    if (error instanceof ClientError && error.kind === 'not-found') throw hostUnknown(host, error);
    throw error;
  }
}

export function hostUnknown(host: string, cause?: unknown): BrokerError {
  return new BrokerError(
    'host-unknown',
    `there is no host ${host} on which you may do anything through this broker: see \`beacon hosts\``,
    { cause },
  );
}

function procedureOf(
  { command, procedure, host }: Asked,
  commands: readonly HostCommand[],
  procedures: OrderingContext['procedures'],
): Procedure {
  if (command !== undefined) {
    const offered = commands.find((one) => one.command === command);
    if (offered !== undefined) return procedureOfCommand(offered, commands);
    const near = didYouMean(
      command,
      commands.map((one) => one.command),
    );
    throw new BrokerError(
      'command-unknown',
      `${host} offers no command ${command}${near}: see \`beacon hosts ${host}\``,
    );
  }
  const found = procedures.get(procedure ?? '');
  if (found !== undefined) return found;
  throw new BrokerError(
    'procedure-unknown',
    `there is no procedure ${procedure}${didYouMean(procedure ?? '', [...procedures.keys()])}: there are ${[...procedures.keys()].join(', ')}`,
  );
}

/** What a host offers as one command is a procedure of one step; all that it takes must be given. */
function procedureOfCommand(offered: HostCommand, commands: readonly HostCommand[]): Procedure {
  const names = Object.keys(offered.params);
  const isSecret = (name: string) => offered.params[name]?.secret === true;
  return {
    name: offered.command,
    summary: offered.summary,
    origin: 'operator',
    parameters: new Map(
      names.map((name) => [
        name,
        {
          summary: `${name} of ${offered.command}`,
          pattern: compilePattern(offered.params[name]?.pattern ?? ''),
          isSecret: isSecret(name),
          whenAbsent: { take: 'nothing' },
        },
      ]),
    ),
    steps: [
      {
        command: offered.command,
        preparation: 'none',
        params: Object.fromEntries(
          names.filter((name) => !isSecret(name)).map((name) => [name, `{${name}}`]),
        ),
        secrets: names.filter(isSecret),
        undo: undoOf(offered, commands),
      },
    ],
    github: undefined,
  };
}

/** The command by which the host lets it be taken back, where all that it takes is known. */
function undoOf({ undo, params }: HostCommand, commands: readonly HostCommand[]): ProcedureStep['undo'] {
  const offered = commands.find(({ command }) => command === undo);
  if (undo === undefined || offered === undefined) return undefined;
  const names = Object.keys(offered.params);
  const isKnown = (name: string) =>
    offered.params[name]?.secret !== true && params[name] !== undefined && params[name].secret !== true;
  if (!names.every(isKnown)) return undefined;
  return { command: undo, params: Object.fromEntries(names.map((name) => [name, `{${name}}`])) };
}

/** With what GitHub says for what the person left out. */
async function completed(
  asked: Asked,
  procedure: Procedure,
  { api }: OrderingCaller,
  { runners }: OrderingContext,
): Promise<Readonly<Record<string, string>>> {
  if (missingFacts(procedure, asked.params).length === 0) return asked.params;
  const step = procedure.steps.find(({ preparation }) => preparation !== 'none') ?? procedure.steps[0];
  if (step === undefined) return asked.params;
  const token = await api.githubToken({ host: asked.host, command: step.command });
  return completeFromGitHub(procedure, asked.params, runners, token);
}

/** Keyed, for it covers the secrets too: who reads the store cannot try guesses of them. */
function fingerprintOf(asked: Asked, { client }: OrderingCaller, sealer: Pick<Sealer, 'derive'>): string {
  const sorted = (values: Readonly<Record<string, string>> = {}) =>
    Object.entries(values).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const { host, login, command, procedure, params, secrets } = asked;
  const text = JSON.stringify([
    host,
    login ?? null,
    command ?? null,
    procedure ?? null,
    sorted(params),
    sorted(secrets),
    client ?? null,
  ]);
  return createHmac('sha256', sealer.derive('run fingerprint')).update(text).digest('hex');
}
