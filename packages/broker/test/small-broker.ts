/**
 * The engine of runs made small: the real store, a throw-away CA in this process, and a connection to a real gate in this
 * process. Time is the host's, and stands still until a test moves it.
 */
import { PassThrough } from 'node:stream';
import type { CaApi } from '@beacon/client';
import { argumentsDigest, decode32 } from '@beacon/protocol/arguments-digest';
import { type GateEvent, parseGateEvent } from '@beacon/protocol/gate-event';
import { formatGateRequest } from '@beacon/protocol/gate-request';
import type { CertificateRequest, CommandRequest } from '@beacon/protocol/http/certificates';
import { createId } from '@beacon/protocol/id';
import {
  createGroupCommit,
  createLog,
  createRecords,
  type DatabaseOptions,
  type GroupCommit,
  migrate,
  openDatabase,
  type RecordTables,
  recordMigrations,
} from '@beacon/server';
import { generateKey, type KeyPair } from '@beacon/ssh/key';
import { fingerprint, formatPublicKeyLine, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { lineOf, type ThrowAwayCa } from '../../../infra/lab/throw-away-ca.ts';
import { admit } from '../../gate/src/admit.ts';
import { EventOutput } from '../../gate/src/event-output.ts';
import { LineInput } from '../../gate/src/line-input.ts';
import { openSession } from '../../gate/src/session.ts';
import type { SmallHost } from '../../gate/test/small-host.ts';
import {
  BrokerError,
  type Caller,
  createRuns,
  type Dial,
  type RunConnection,
  type RunDatabase,
  type RunGitHub,
  type RunLogEntry,
  type RunOrder,
  type Runs,
  type RunsOptions,
  type RunTables,
  runMigrations,
  type StoredRun,
} from '../src/index.ts';

export const PERSON = 'github:583231';
export const HOST = 'build-01';

/** What the CA of a test does instead of what it does. */
export interface CaBehaviour {
  decide?: () => Promise<{ allowed: boolean; reason: string }>;
  certify?: () => Promise<void>;
  token?: () => Promise<string>;
}

/** A CA whose policy allows all, unless a test says otherwise. */
export class SmallCa {
  readonly behaviour: CaBehaviour = {};
  readonly asked: string[] = [];
  /** Hosts whose heads were told. */
  readonly reported: string[] = [];
  readonly #ca: ThrowAwayCa;
  readonly #hostCa = generateKey('ssh-ed25519');

  constructor(ca: ThrowAwayCa) {
    this.#ca = ca;
  }

  caller(sessionKey = 'session'): Caller {
    const record = { seq: 1, hash: '0'.repeat(64) };
    const api = {
      decide: async (request: { commands?: readonly CommandRequest[] }) => {
        this.asked.push(`decide ${names(request.commands)}`);
        const { allowed, reason } = (await this.behaviour.decide?.()) ?? { allowed: true, reason: 'yes' };
        return {
          allowed,
          reason: { code: 'test', text: reason },
          missing: [],
          policies: [],
          policyVersion: '1',
          record,
        };
      },
      requestCertificate: async (body: Buffer) => {
        const request = JSON.parse(body.toString('utf8')) as CertificateRequest;
        this.asked.push(`certify ${names(request.commands)}`);
        await this.behaviour.certify?.();
        const { key } = parsePublicKeyLine(request.public_key);
        const { blob, grant, serial } = await this.#ca.certify([], {
          key: { publicKey: key } as KeyPair,
          lifetimeSeconds: request.lifetime_seconds,
          grant: {
            commands: (request.commands ?? []).map(({ undo, ...command }) => ({
              ...granted(command),
              ...(undo === undefined ? {} : { undo: granted(undo) }),
            })),
          },
        });
        return {
          certificate: `ssh-ed25519-cert-v01@openssh.com ${blob.toString('base64')}`,
          serial,
          grant: grant.grant,
          shortenedBySession: false,
          policies: [],
          host: {
            id: HOST,
            address: '127.0.0.1',
            port: 22,
            certificateAuthorities: [lineOf(this.#hostCa)],
          },
          record,
        };
      },
      authorityKeys: async () => ({
        user: [published(this.#ca.userCa)],
        host: [published(this.#hostCa)],
      }),
      revocationList: async () => Buffer.alloc(0),
      reportHeads: async (_: object, hosts: readonly { host: string }[]) => {
        this.reported.push(...hosts.map(({ host }) => host));
      },
      githubToken: async () => {
        this.asked.push('token');
        return (await this.behaviour.token?.()) ?? 'token-of-the-person';
      },
    };
    return { person: PERSON, sessionKey, api: api as unknown as CaApi };
  }
}

function names(commands: readonly { command: string }[] | undefined): string {
  return (commands ?? []).map(({ command }) => command).join(' ');
}

function published(key: KeyPair) {
  return {
    publicKey: formatPublicKeyLine(key.publicKey),
    fingerprint: fingerprint(key.publicKey),
    state: 'active' as const,
  };
}

function granted(request: Omit<CommandRequest, 'undo'>) {
  const commitments = Object.fromEntries(
    Object.entries(request.commitments).map(([name, text]) => [name, decode32(text) ?? new Uint8Array()]),
  );
  const salt = decode32(request.salt) ?? new Uint8Array();
  return {
    command: request.command,
    digest: argumentsDigest({ command: request.command, salt, params: request.params, commitments }),
  };
}

/** Both ends in this process: the client's, and a real gate. */
export function dialHost(host: SmallHost): Dial {
  return async ({ obtained }) => {
    const [input, output] = [new PassThrough(), new PassThrough()];
    const gate = host.gate();
    const blob = Buffer.from(obtained.line.split(' ')[1] ?? '', 'base64');
    const lines = output.setEncoding('utf8');
    const connection = connectionOver(input, lines);
    let admission: ReturnType<typeof admit>;
    try {
      admission = admit(blob, gate);
    } catch (error) {
      throw new BrokerError('gate-refused', error instanceof Error ? error.message : 'refused');
    }
    const session = openSession({
      gate,
      admission,
      input: new LineInput(input),
      output: new EventOutput(output),
    });
    void session.run().then(() => output.end());
    return connection();
  };
}

function connectionOver(input: PassThrough, output: PassThrough): () => Promise<RunConnection> {
  const events: GateEvent[] = [];
  let [rest, isEnded, isClosed] = ['', false, false];
  let wake = (): void => undefined;
  output.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) events.push(parseGateEvent(line));
    wake();
  });
  output.on('end', () => {
    isEnded = true;
    wake();
  });
  const next = async (): Promise<GateEvent | undefined> => {
    for (;;) {
      const event = events.shift();
      if (event?.event === 'closed') isClosed = true;
      if (event !== undefined) return event;
      if (isEnded) return undefined;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  let finish: (end: Awaited<RunConnection['end']>) => void = () => undefined;
  const end = new Promise<Awaited<RunConnection['end']>>((resolve) => {
    finish = resolve;
  });
  return async () => {
    const hello = await next();
    if (hello?.event !== 'hello') throw new BrokerError('gate-refused', 'it refuses the session');
    return {
      hello,
      async send(request) {
        input.write(`${formatGateRequest(request)}\n`);
      },
      events: {
        [Symbol.asyncIterator]: () => ({
          next: async () => {
            const event = isClosed ? undefined : await next();
            if (event !== undefined) return { done: false, value: event };
            finish(isClosed ? { how: 'closed' } : { how: 'lost', reason: 'the connection is gone' });
            return { done: true, value: undefined };
          },
        }),
      },
      end,
      kill() {
        input.end();
        isEnded = true;
        wake();
        finish(isClosed ? { how: 'closed' } : { how: 'lost', reason: 'the connection is gone' });
      },
    };
  };
}

export const noGitHub: RunGitHub = {
  prepare: () => Promise.reject(new BrokerError('github-unavailable', 'there is no GitHub here')),
  remove: () => Promise.reject(new BrokerError('github-unavailable', 'there is no GitHub here')),
};

export interface Engine {
  readonly runs: Runs;
  readonly store: RunDatabase;
  readonly commit: GroupCommit<RunTables & RecordTables>;
}

/** Opens the store that may be there already. */
export async function openStore(place: DatabaseOptions): Promise<RunDatabase> {
  const store: RunDatabase = openDatabase<RunTables & RecordTables>(place);
  await migrate(store, recordMigrations, runMigrations);
  return store;
}

export function openRuns(
  store: RunDatabase,
  options: Pick<RunsOptions, 'dial' | 'now'> & Partial<RunsOptions>,
): Engine {
  const commit = createGroupCommit<RunTables & RecordTables>(store);
  const runs = createRuns({
    store,
    commit,
    records: createRecords({ chain: 'broker', now: options.now }),
    github: noGitHub,
    log: createLog({ name: 'test', level: 'silent' }),
    ...options,
  });
  return { runs, store, commit };
}

export function orderOf(
  steps: readonly (Partial<RunOrder['steps'][number]> & { command: string })[],
  more: Partial<RunOrder> = {},
): RunOrder {
  return {
    person: PERSON,
    service: 'portal',
    host: HOST,
    login: 'beacon',
    title: steps[0]?.command ?? '',
    kind: 'command',
    params: {},
    steps: steps.map((step) => ({
      preparation: 'none',
      params: {},
      secretNames: [],
      timeoutSeconds: 30,
      ...step,
    })),
    fingerprint: createId(Date.now()),
    ...more,
  };
}

/** The log from its beginning to `over`, or to the first entry for which `isLast` holds. */
export async function logOf(
  runs: Runs,
  run: string,
  isLast: (entry: RunLogEntry) => boolean = () => false,
): Promise<readonly RunLogEntry[]> {
  const entries: RunLogEntry[] = [];
  for await (const entry of runs.events(run, 0, new AbortController().signal)) {
    entries.push(entry);
    if (isLast(entry)) break;
  }
  return entries;
}

/** Waits until the run rests: it is over, or interrupted. */
export async function resting(runs: Runs, id: string): Promise<StoredRun> {
  for await (const entry of runs.events(id, 0, new AbortController().signal)) {
    if (entry.kind === 'over' || entry.data['phase'] === 'interrupted') {
      const run = await runs.get(id);
      if (run !== undefined && run.lastEvent === entry.seq) return run;
    }
  }
  const run = await runs.get(id);
  if (run === undefined) throw new TypeError('there is no such run');
  return run;
}

export function textOf(entries: readonly RunLogEntry[], stream: 'stdout' | 'stderr' = 'stdout'): string {
  return entries
    .filter(({ kind }) => kind === stream)
    .map(({ data }) => String(data['text'] ?? ''))
    .join('');
}

/** Writes like `commit` up to a write at which the process dies: it is on the disk or not, and nobody hears of it. */
export function dying(
  commit: Engine['commit'],
  dies: { readonly at: number; readonly when: 'before' | 'after' },
): { commit: Engine['commit']; died: Promise<void>; written: () => number } {
  let count = 0;
  let tell: () => void = () => undefined;
  const died = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const write: Engine['commit']['write'] = async (unit) => {
    count += 1;
    if (count > dies.at || (count === dies.at && dies.when === 'before')) {
      tell();
      throw new Error('the process is dead');
    }
    const value = await commit.write(unit);
    if (count < dies.at) return value;
    tell();
    throw new Error('the process is dead');
  };
  return { commit: { ...commit, latest: undefined, write }, died, written: () => count };
}
