/**
 * What a broker's API answers about hosts, procedures, runners and traces (`@beacon/protocol/http/broker-hosts` and its
 * neighbours), read by hand into values.
 */
import { RUNNER_FINDINGS } from '@beacon/protocol/run-words';
import type { Json } from '@beacon/protocol/strict-json';
import type { Answer } from './answer.ts';

export interface UsableHost {
  readonly id: string;
  readonly state: 'enabled' | 'disabled';
  readonly logins: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly pools: readonly string[];
}

export interface Reason {
  readonly code: string;
  readonly text: string;
}

/** `depends`: on the values of the parameters. */
export type Allowed = 'yes' | 'no' | 'depends';

export interface OfferedCommand {
  readonly command: string;
  readonly summary: string;
  readonly login: string;
  readonly params: Readonly<Record<string, { readonly pattern: string; readonly secret: boolean }>>;
  readonly undo: string | undefined;
  readonly timeoutSeconds: number | undefined;
  /** `host`: its own list, as it last reported; `inventory`: what the CA was told. */
  readonly offered: 'host' | 'inventory';
  readonly allowed: Allowed;
  readonly reason: Reason;
  readonly missing: readonly Readonly<Record<string, Json>>[];
}

export interface Procedure {
  readonly name: string;
  readonly summary: string;
  readonly params: Readonly<Record<string, ProcedureParameter>>;
  readonly steps: readonly string[];
}

export interface ProcedureParameter {
  readonly pattern: string | undefined;
  readonly summary: string | undefined;
  readonly required: boolean;
  readonly secret: boolean;
}

export interface UsableHostDetail {
  readonly host: UsableHost;
  readonly commands: readonly OfferedCommand[];
  readonly procedures: readonly (Procedure & {
    readonly allowed: Allowed;
    readonly reason: Reason | undefined;
  })[];
}

/** The records about one grant or run, as its broker has joined them. */
export interface BrokerTrace {
  readonly run: string | undefined;
  readonly grants: readonly string[];
  /** Exact lines: hash them as they are. */
  readonly lines: readonly { readonly chain: 'broker' | 'ca' | 'host'; readonly line: string }[];
  /** Whose records could not be read, and why. */
  readonly missing: readonly { readonly chain: 'broker' | 'ca' | 'host'; readonly reason: string }[];
  readonly findings: readonly { readonly code: string; readonly text: string; readonly grant?: string }[];
}

/** Where a person may add runners at GitHub. */
export interface RunnerPlace {
  readonly scope: string;
  readonly kind: 'repository' | 'organization';
  readonly mayAdd: boolean;
  /** Why not, and whom to ask. */
  readonly reason: string | undefined;
  readonly isPublic: boolean;
}

export interface Runner {
  readonly name: string;
  readonly host: string | undefined;
  readonly scope: string | undefined;
  readonly run: string | undefined;
  /** As GitHub sees it; undefined: GitHub does not know it. */
  readonly github:
    | {
        readonly id: number;
        readonly status: 'online' | 'offline';
        readonly busy: boolean;
        readonly labels: readonly string[];
      }
    | undefined;
  readonly finding: (typeof RUNNER_FINDINGS)[number];
  readonly detail: string | undefined;
}

const CHAINS = ['broker', 'ca', 'host'] as const;
const ALLOWED = ['yes', 'no', 'depends'] as const;

export function readUsableHost(host: Answer): UsableHost {
  return {
    id: host.name('id', 'host'),
    state: host.word('state', ['enabled', 'disabled']),
    logins: host.texts('logins', 32),
    labels: host.map('labels'),
    pools: host.texts('pools', 100),
  };
}

export function readUsableHostDetail(answer: Answer): UsableHostDetail {
  return {
    host: readUsableHost(answer.object('host')),
    commands: answer.objects('commands').map(readOfferedCommand),
    procedures: answer.objects('procedures').map((procedure) => ({
      ...readProcedure(procedure),
      allowed: procedure.word('allowed', ALLOWED),
      reason: procedure.has('reason') ? readReason(procedure.object('reason')) : undefined,
    })),
  };
}

export function readProcedure(procedure: Answer): Procedure {
  return {
    name: procedure.name('name', 'command'),
    summary: procedure.text('summary', 2000),
    params: readEach(procedure, 'params', (parameter) => ({
      pattern: parameter.optionalText('pattern', 8192),
      summary: parameter.optionalText('summary', 2000),
      required: parameter.boolean('required'),
      secret: isSecret(parameter),
    })),
    steps: procedure.texts('steps', 64),
  };
}

export function readBrokerTrace(trace: Answer): BrokerTrace {
  return {
    run: trace.optionalText('run', 26),
    grants: trace.texts('grants', 26),
    lines: trace
      .objects('lines')
      .map((line) => ({ chain: line.word('chain', CHAINS), line: line.text('line') })),
    missing: trace
      .objects('missing')
      .map((source) => ({ chain: source.word('chain', CHAINS), reason: source.text('reason', 2000) })),
    findings: trace.objects('findings').map((finding) => ({
      code: finding.text('code', 64),
      text: finding.text('text', 2000),
      ...(finding.has('grant') ? { grant: finding.text('grant', 26) } : {}),
    })),
  };
}

export function readPlace(place: Answer): RunnerPlace {
  return {
    scope: place.text('scope', 200),
    kind: place.word('kind', ['repository', 'organization']),
    mayAdd: place.boolean('may_add'),
    reason: place.optionalText('reason', 2000),
    isPublic: place.boolean('is_public'),
  };
}

export function readRunner(runner: Answer): Runner {
  const github = runner.has('github') ? runner.object('github') : undefined;
  return {
    name: runner.text('name', 200),
    host: runner.optionalText('host', 63),
    scope: runner.optionalText('scope', 200),
    run: runner.optionalText('run', 26),
    github:
      github === undefined
        ? undefined
        : {
            id: github.integer('id', 1),
            status: github.word('status', ['online', 'offline']),
            busy: github.boolean('busy'),
            labels: github.texts('labels', 300),
          },
    finding: runner.word('finding', RUNNER_FINDINGS),
    detail: runner.optionalText('detail', 2000),
  };
}

function readOfferedCommand(command: Answer): OfferedCommand {
  return {
    command: command.name('command', 'command'),
    summary: command.text('summary', 2000),
    login: command.name('login', 'login'),
    params: readEach(command, 'params', (parameter) => ({
      pattern: parameter.text('pattern', 8192),
      secret: isSecret(parameter),
    })),
    undo: command.optionalText('undo', 64),
    timeoutSeconds: command.has('timeout_seconds') ? command.integer('timeout_seconds', 0) : undefined,
    offered: command.word('offered', ['host', 'inventory']),
    allowed: command.word('allowed', ALLOWED),
    reason: readReason(command.object('reason')),
    missing: command.objects('missing').map((one) => one.fields()),
  };
}

function readReason(reason: Answer): Reason {
  return { code: reason.text('code', 100), text: reason.text('text', 4000) };
}

function readEach<Each>(
  of: Answer,
  name: string,
  read: (one: Answer) => Each,
): Readonly<Record<string, Each>> {
  const all = of.object(name);
  return Object.fromEntries(Object.keys(all.fields()).map((key) => [key, read(all.object(key))]));
}

function isSecret(parameter: Answer): boolean {
  return parameter.has('secret') && parameter.boolean('secret');
}
