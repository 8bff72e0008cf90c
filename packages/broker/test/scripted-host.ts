/**
 * A host and a GitHub that do what a test says, at once and in memory: the gate's rules for sessions (one request after the
 * other, a command of a grant starts once, what a session started is taken back unless it ends in order), no processes,
 * no disk. It remembers all that was asked of it, so that a test can say what was never asked twice.
 */
import type { ObtainedCertificate } from '@beacon/client';
import type { GateEvent } from '@beacon/protocol/gate-event';
import type { GateRequest, Invocation } from '@beacon/protocol/gate-request';
import { parseGrant } from '@beacon/protocol/grant';
import { type Certificate, decodeCertificate } from '@beacon/ssh/certificate';
import { optionText } from '@beacon/ssh/options';
import { BrokerError, type Dial, type RunConnection, type RunGitHub } from '../src/index.ts';

/** How one command goes: it writes this, and ends so; `hang` waits until it is cancelled or lost. */
export interface Behaviour {
  readonly output?: readonly string[];
  readonly code?: number;
  readonly hangs?: boolean;
  /** The connection goes instead of its end. */
  readonly loses?: 'before' | 'after';
  readonly refuses?: boolean;
}

interface Started {
  readonly grant: string;
  readonly index: number;
  readonly id: number;
  readonly asked: Invocation;
  readonly undo: Invocation | undefined;
  state: 'running' | 'ended' | 'undone' | 'left' | 'undo-failed';
  code: number | null;
}

const HEAD = { seq: 1, hash: 'a'.repeat(64) };

export class ScriptedHost {
  /** Asked for, by the exact salt: the same request twice is the same salt twice. */
  readonly requests: string[] = [];
  readonly started: Started[] = [];
  /** What commands have put and no undo has taken away. */
  readonly inForce: string[] = [];
  /** Secrets as they came. */
  readonly secrets: string[] = [];
  sessions = 0;
  /** Whether it takes back what a lost session has started. */
  undoes = true;
  behave: (command: string) => Behaviour = () => ({});
  /** Undefined connects. */
  unreachable: (() => BrokerError | undefined) | undefined;
  beforeHello: (() => Promise<void>) | undefined;
  readonly runners = new Set<string>();
  /** Undefined does what is asked. */
  githubFails: ((what: string) => BrokerError | undefined) | undefined;
  readonly #open = new Set<ScriptedSession>();

  readonly dial: Dial = async ({ obtained, signal }) => {
    await this.beforeHello?.();
    const failure = this.unreachable?.();
    if (failure !== undefined) throw failure;
    if (signal?.aborted === true) throw new BrokerError('aborted', 'left');
    this.sessions += 1;
    const session = new ScriptedSession(this, obtained);
    this.#open.add(session);
    void session.end.then(() => this.#open.delete(session));
    return session;
  };

  readonly github: RunGitHub = {
    prepare: async (_, what) => {
      const failure = this.githubFails?.(what);
      if (failure !== undefined) throw failure;
      return { secrets: what === 'register' ? { token: `registration-${this.runners.size}` } : {} };
    },
    remove: async ({ github }) => {
      const failure = this.githubFails?.('remove');
      if (failure !== undefined) throw failure;
      if (github !== undefined) this.runners.delete(github.runner);
    },
  };

  /** How many sessions go on. */
  get open(): number {
    return this.#open.size;
  }

  /** What its gates have said and nobody has read. */
  get unread(): number {
    return [...this.#open].reduce((sum, { unread }) => sum + unread, 0);
  }

  /** The wire is cut, at both ends. */
  cut(): void {
    for (const session of this.#open) session.kill();
  }

  /** The runner is registered by the command that was given the secret. */
  apply({ command, params, secrets }: Invocation): void {
    const { name } = JSON.parse(params) as { name?: string };
    if (secrets.size > 0 && name !== undefined) this.runners.add(name);
    for (const { value } of secrets.values()) this.secrets.push(value);
    this.inForce.push(command);
  }

  takeBack(entry: Started): void {
    const at = this.inForce.lastIndexOf(entry.asked.command);
    if (at !== -1) this.inForce.splice(at, 1);
  }
}

class ScriptedSession implements RunConnection {
  readonly hello: RunConnection['hello'];
  readonly events: AsyncIterable<GateEvent>;
  readonly end: RunConnection['end'];
  readonly #host: ScriptedHost;
  readonly #mine: Started[] = [];
  readonly #out: GateEvent[] = [];
  #commands: { readonly grant: string; readonly names: readonly { command: string; digest: string }[] };
  #finish: (end: Awaited<RunConnection['end']>) => void = () => undefined;
  #wake: () => void = () => undefined;
  #isOver = false;
  #hasFailed = false;
  #isGone = false;

  constructor(host: ScriptedHost, obtained: ObtainedCertificate) {
    this.#host = host;
    this.#commands = grantIn(obtained.certificate);
    this.hello = {
      event: 'hello',
      version: 'test',
      host: obtained.host.id,
      grant: obtained.grant,
      until: '',
      allowlist: '',
      head: HEAD,
    };
    this.end = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.events = { [Symbol.asyncIterator]: () => ({ next: () => this.#next() }) };
  }

  get unread(): number {
    return this.#out.length;
  }

  async send(request: GateRequest): Promise<void> {
    if (this.#isGone) throw new BrokerError('session-lost', 'gone');
    switch (request.kind) {
      case 'command':
        this.#run(request);
        return;
      case 'certificate':
        this.#commands = grantIn(decodeCertificate(request.blob));
        this.#tell({ event: 'replaced', id: request.id, grant: this.#commands.grant, until: '' });
        return;
      case 'cancel':
        this.#stopRunning('cancelled');
        this.#undo();
        this.#close('cancelled');
        return;
      case 'end':
        this.#close('ended');
    }
  }

  kill(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#isOver = true;
    this.#stopRunning('lost');
    if (this.#host.undoes) this.#undo();
    this.#finish({ how: 'lost', reason: 'the connection is gone' });
    this.#wake();
  }

  #run(request: GateRequest & { readonly kind: 'command' }): void {
    const { id, asked, undo } = request;
    const host = this.#host;
    host.requests.push(asked.salt.toString('base64url'));
    const behaviour = host.behave(asked.command);
    if (behaviour.loses === 'before') {
      this.kill();
      return;
    }
    if (behaviour.refuses === true || this.#hasFailed) {
      this.#tell({ event: 'refused', id, code: 'test', reason: 'it does not like it' });
      return;
    }
    this.#tell({ event: 'started', id, command: asked.command });
    if (asked.command === 'gate.state') {
      this.#answer(id, asked);
      return;
    }
    const index = this.#commands.names.findIndex(({ command }) => command === asked.command);
    const entry: Started = {
      grant: this.#commands.grant,
      index,
      id,
      asked,
      undo,
      state: 'running',
      code: null,
    };
    this.#mine.push(entry);
    host.started.push(entry);
    for (const text of behaviour.output ?? []) this.#tell({ event: 'stdout', id, text });
    if (behaviour.hangs === true) return;
    entry.code = behaviour.code ?? 0;
    entry.state = 'ended';
    const isUndo = asked.command.startsWith('undo-');
    if (entry.code === 0 && !isUndo) host.apply(asked);
    if (entry.code === 0 && isUndo) {
      for (const other of host.started) {
        if (other.undo?.command !== asked.command || other.state === 'undone') continue;
        host.takeBack(other);
        other.state = 'undone';
      }
    }
    if (behaviour.loses === 'after') {
      this.kill();
      return;
    }
    this.#exit(entry);
    if (entry.code !== 0) {
      this.#hasFailed = true;
      this.#undo();
    }
  }

  #answer(id: number, { params }: Invocation): void {
    const { grant } = JSON.parse(params) as { grant: string };
    const commands = this.#host.started
      .filter((entry) => entry.grant === grant)
      .map(({ index, asked, state, code }) => ({
        index,
        command: asked.command,
        state,
        ...(state === 'ended' ? { why: 'ended', code } : {}),
      }));
    this.#tell({ event: 'stdout', id, text: `${JSON.stringify({ v: 1, grant, commands })}\n` });
    this.#tell({ event: 'exit', id, code: 0, signal: null, why: 'ended', duration_ms: 1, head: HEAD });
  }

  #exit({ id, code }: Started): void {
    this.#tell({ event: 'exit', id, code, signal: null, why: 'ended', duration_ms: 1, head: HEAD });
  }

  #stopRunning(why: 'cancelled' | 'lost'): void {
    const entry = this.#mine.find(({ state }) => state === 'running');
    if (entry === undefined) return;
    entry.state = 'ended';
    this.#tell({
      event: 'exit',
      id: entry.id,
      code: null,
      signal: 'SIGKILL',
      why,
      duration_ms: 1,
      head: HEAD,
    });
  }

  #undo(): void {
    for (const entry of this.#mine.splice(0).reverse()) {
      if (entry.undo === undefined || entry.state !== 'ended') continue;
      const isLeft = this.#host.behave(entry.undo.command).code !== undefined;
      entry.state = isLeft ? 'left' : 'undone';
      if (!isLeft) this.#host.takeBack(entry);
      const { id } = entry;
      const { command } = entry.undo;
      if (isLeft) this.#tell({ event: 'left', id, command, reason: 'it could not be' });
      else this.#tell({ event: 'undone', id, command, code: 0, signal: null, why: 'ended', head: HEAD });
    }
  }

  #close(why: 'ended' | 'cancelled'): void {
    this.#mine.length = 0;
    this.#tell({ event: 'closed', why, head: HEAD });
    this.#isOver = true;
    this.#isGone = true;
    this.#wake();
  }

  #tell(event: GateEvent): void {
    if (this.#isGone) return;
    this.#out.push(event);
    this.#wake();
  }

  async #next(): Promise<IteratorResult<GateEvent, undefined>> {
    for (;;) {
      const event = this.#out.shift();
      if (event !== undefined) return { done: false, value: event };
      if (this.#isOver) {
        this.#finish({ how: 'closed' });
        return { done: true, value: undefined };
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

function grantIn({ extensions }: Certificate) {
  const grant = parseGrant(optionText(extensions, 'grant@beacon') ?? '');
  return { grant: grant.grant, names: grant.commands };
}
