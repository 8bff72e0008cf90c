/**
 * What a run does to the world, one thing at a time, each only after the state that says so is on the disk: asks the CA,
 * connects, sends, ends, asks GitHub. Holds, in memory only, what a run needs for that: one key for all its certificates,
 * the values of secrets until they are sent, and the open session. What becomes of it is told to the run, which decides.
 */
import { Buffer } from 'node:buffer';
import { type CertificateWish, type ObtainedCertificate, obtainCertificate } from '@beacon/client';
import type { ChainHead } from '@beacon/protocol/checkpoint';
import { generateKey } from '@beacon/ssh/key';
import { createSigner, type Signer } from '@beacon/ssh/signature';
import { BrokerError } from './error.ts';
import { type HostCalls, lookAtHost, takeBackOnHost } from './host-calls.ts';
import type { OutputRedaction } from './output-redaction.ts';
import { deniedText, runFailure } from './run-failure.ts';
import type { Caller, PreparedStep, RunGitHub, RunGrant, StoredRun } from './run-order.ts';
import { RunSecrets } from './run-secrets.ts';
import {
  certificateRequest,
  type Dial,
  type Facts,
  type Listener,
  type RunConnection,
  RunSession,
} from './run-session.ts';
import type { Preparation, Report, RunEffect } from './run-state.ts';
import {
  certifiedPieces,
  gateRequest,
  lifetimeSeconds,
  type RandomBytes,
  type StepRequest,
  stepRequest,
} from './step-request.ts';

/** The run that effects are carried out for. */
export interface RunHands {
  /** As it was last written down. */
  readonly run: StoredRun;
  report(attempt: number, report: Report, facts?: Facts): void;
  /** On the disk when it resolves. */
  keepGrant(grant: RunGrant): Promise<void>;
  keepRunner(runnerId: number): Promise<void>;
  opened(grant: string, head: ChainHead): void;
  closed(grant: string, head: ChainHead): void;
  note(text: string): void;
  output: Listener['output'];
  outputEnded: Listener['outputEnded'];
  truncated: Listener['truncated'];
  /** Whether this process may still act for the run. */
  isHeld(): boolean;
  defect(error: unknown, what: string): void;
}

export interface EffectOptions {
  readonly dial: Dial;
  readonly github: RunGitHub;
  /** Undefined when nobody's login is at hand. */
  readonly caller: () => Caller | undefined;
  readonly now: () => Date;
  readonly random: RandomBytes;
  readonly redaction: OutputRedaction;
}

interface Piece {
  readonly from: number;
  readonly requests: readonly StepRequest[];
  readonly obtained: ObtainedCertificate;
}

export class RunEffects {
  readonly #options: EffectOptions;
  readonly #hands: RunHands;
  readonly #secrets: RunSecrets;
  #signer: Signer | undefined;
  #piece: Piece | undefined;
  #session: RunSession | undefined;
  #lastHead: ChainHead | undefined;
  /** As the CA told it with the last certificate. */
  #revokedHosts: Buffer = Buffer.alloc(0);

  constructor(options: EffectOptions, hands: RunHands, secrets: Readonly<Record<string, string>>) {
    this.#options = options;
    this.#hands = hands;
    this.#secrets = new RunSecrets(options.redaction);
    this.#secrets.give(secrets);
  }

  /** The newest head of the host's chain that it has said here. */
  get lastHead(): ChainHead | undefined {
    return this.#lastHead;
  }

  /** More values, with a later wish. */
  addSecrets(secrets: Readonly<Record<string, string>>): void {
    this.#secrets.give(secrets);
  }

  /** Never rejects: what goes wrong is told to the run. */
  async perform(effect: RunEffect, attempt: number, signal: AbortSignal): Promise<void> {
    const tell = (report: Report, facts?: Facts): void => this.#hands.report(attempt, report, facts);
    try {
      const report = await this.#do(effect, attempt, signal);
      if (report !== undefined) tell(report);
    } catch (error) {
      // Nobody waits for it any more, and what the run waits for now is something else.
      if (signal.aborted) return;
      const { kind, reason, isDefect } = runFailure(error);
      if (isDefect) this.#hands.defect(error, effect.do);
      // What could not be sent is a session that is lost, and that is told by who reads it.
      if (effect.do !== 'send' && effect.do !== 'end' && effect.do !== 'cancel') tell({ kind, reason });
    }
  }

  /** Lets go of everything: the session without a word, keys and values. */
  close(): void {
    this.#session?.kill();
    this.#session = undefined;
    this.#signer = undefined;
    this.#piece = undefined;
    this.#secrets.clear();
    this.#options.redaction.forget();
  }

  async #do(effect: RunEffect, attempt: number, signal: AbortSignal): Promise<Report | undefined> {
    switch (effect.do) {
      case 'decide':
        return this.#decide(signal);
      case 'prepare':
        return this.#prepare(effect.what, signal);
      case 'certify':
        return this.#certify(effect.from, effect.to, attempt, signal);
      case 'connect':
        return this.#connect(attempt, signal);
      case 'replace':
        return this.#replace();
      case 'send':
        return this.#send(effect.step);
      case 'end':
        await this.#session?.send((id) => ({ kind: 'end', id }));
        return undefined;
      case 'cancel':
        await this.#session?.send((id) => ({ kind: 'cancel', id }));
        return undefined;
      case 'disconnect':
        this.#session?.kill();
        this.#session = undefined;
        return undefined;
      case 'remove':
        await this.#remove(signal);
        return { kind: 'removed' };
      case 'look':
        return { kind: 'found', outcomes: await lookAtHost(this.#calls(attempt, signal)) };
      case 'take-back':
        await takeBackOnHost(this.#calls(attempt, signal), effect.steps);
        return { kind: 'closed' };
    }
  }

  async #decide(signal: AbortSignal): Promise<Report> {
    const { run } = this.#hands;
    // One certificate for all of it says as much, and before anything is made anywhere.
    if (run.steps.every(({ preparation }) => preparation === 'none')) return { kind: 'allowed' };
    const { api } = this.#caller();
    // Values that are not known yet are not asked for by policy either.
    const commands = run.steps.map((step) => stepRequest(step, new Map(), this.#options.random).forCa);
    const lifetime = Math.max(...certifiedPieces(run.steps).map(lifetimeSeconds));
    const question = { host: run.host, login: run.login, lifetime_seconds: lifetime, commands };
    const decision = await unlessAborted(api.decide(question), signal);
    return decision.allowed
      ? { kind: 'allowed' }
      : { kind: 'denied', reason: deniedText(decision.reason.text) };
  }

  async #prepare(what: Exclude<Preparation, 'none'>, signal: AbortSignal): Promise<Report> {
    const { github } = this.#options;
    const { run, note } = this.#hands;
    const prepared = await this.#withToken<PreparedStep>((token) =>
      github.prepare(run, what, token, (text) => note.call(this.#hands, text), signal),
    );
    this.#secrets.prepare(prepared.secrets);
    if (prepared.runnerId !== undefined) await this.#hands.keepRunner(prepared.runnerId);
    return { kind: 'prepared' };
  }

  /** Whoever has taken up the run meanwhile may have made another runner of that name. */
  #remove(signal: AbortSignal): Promise<void> {
    const { github } = this.#options;
    return this.#withToken((token) => {
      if (!this.#hands.isHeld()) throw new BrokerError('closed', 'another process has taken up this run');
      return github.remove(this.#hands.run, token, (text) => this.#hands.note(text), signal);
    });
  }

  async #certify(from: number, to: number, attempt: number, signal: AbortSignal): Promise<Report> {
    const { run } = this.#hands;
    const steps = run.steps.slice(from, to);
    const requests = steps.map((step) => stepRequest(step, this.#secrets.of(step), this.#options.random));
    const obtained = await this.#obtain(
      {
        host: run.host,
        login: run.login,
        lifetimeSeconds: lifetimeSeconds(steps),
        commands: requests.map(({ forCa }) => forCa),
      },
      signal,
    );
    const { grant } = obtained;
    // Written down together with what is told next, which comes before anybody connects.
    this.#hands
      .keepGrant({ grant, attempt, steps: steps.map((_, at) => from + at), purpose: 'steps' })
      .catch(() => undefined);
    this.#piece = { from, requests, obtained };
    return { kind: 'certified' };
  }

  async #connect(attempt: number, signal: AbortSignal): Promise<undefined> {
    const { obtained } = this.#requirePiece();
    const connection = await this.#dial(obtained, signal);
    if (signal.aborted) {
      connection.kill();
      throw new BrokerError('aborted', 'it was left before the host had answered');
    }
    const hands = this.#hands;
    const { grant } = obtained;
    this.#lastHead = connection.hello.head;
    hands.opened(grant, connection.hello.head);
    const session = new RunSession(
      connection,
      hands.run.steps.map(({ command }) => command),
      {
        report: (report, facts) => hands.report(attempt, report, facts),
        output: (stream, step, bytes) => hands.output(stream, step, bytes),
        outputEnded: (step) => hands.outputEnded(step),
        truncated: (step, maxOutputBytes) => hands.truncated(step, maxOutputBytes),
        closed: (head) => hands.closed(grant, head),
        head: (head) => {
          this.#lastHead = head;
        },
      },
    );
    this.#session = session;
    // Before anything that the session says.
    hands.report(attempt, { kind: 'connected' });
    void session.follow();
    return undefined;
  }

  async #replace(): Promise<undefined> {
    const { obtained } = this.#requirePiece();
    await this.#requireSession().send((id) => certificateRequest(id, obtained));
    return undefined;
  }

  async #send(step: number): Promise<undefined> {
    const { from, requests } = this.#requirePiece();
    const request = requests[step - from];
    // A process that was stopped for longer than its lease is no longer the one that acts for the run.
    if (!this.#hands.isHeld()) {
      this.#session?.kill();
      return undefined;
    }
    if (request === undefined) throw new BrokerError('internal', 'there is no certificate for this step');
    await this.#requireSession().send((id) => gateRequest(id, request), step);
    this.#forgetSecretsOf(step);
    return undefined;
  }

  #forgetSecretsOf(step: number): void {
    this.#secrets.forget(this.#hands.run.steps, step);
    const piece = this.#piece;
    if (piece === undefined) return;
    const requests = piece.requests.map((request, at) =>
      at === step - piece.from ? { ...request, asked: { ...request.asked, secrets: new Map() } } : request,
    );
    this.#piece = { ...piece, requests };
  }

  #calls(attempt: number, signal: AbortSignal): HostCalls {
    const { random } = this.#options;
    const hands = this.#hands;
    return {
      run: hands.run,
      attempt,
      random,
      obtain: (wish) => this.#obtain(wish, signal),
      dial: async (obtained) => {
        const connection = await this.#dial(obtained, signal);
        if (signal.aborted) connection.kill();
        else signal.addEventListener('abort', () => connection.kill(), { once: true });
        return connection;
      },
      keepGrant: (grant) => hands.keepGrant(grant),
      isHeld: () => hands.isHeld(),
      note: (text) => hands.note(text),
      report: (report, facts) => hands.report(attempt, report, facts),
      head: (grant, head) => {
        this.#lastHead = head;
        hands.closed(grant, head);
      },
    };
  }

  async #obtain(wish: CertificateWish, signal: AbortSignal): Promise<ObtainedCertificate> {
    const { api } = this.#caller();
    this.#signer ??= createSigner(generateKey('ssh-ed25519').privateKey);
    const options = { signer: this.#signer, now: this.#options.now };
    const asked = obtainCertificate(api, wish, options);
    // Whoever is connected has looked already.
    if (this.#session !== undefined) return unlessAborted(asked, signal);
    const [obtained, revoked] = await unlessAborted(Promise.all([asked, api.revocationList()]), signal);
    this.#revokedHosts = revoked;
    return obtained;
  }

  #dial(obtained: ObtainedCertificate, signal: AbortSignal): Promise<RunConnection> {
    const onNote = (text: string): void => this.#hands.note(text);
    return this.#options.dial({ obtained, revokedHosts: this.#revokedHosts, signal, onNote });
  }

  /** The person's token, for as long as `work` takes. */
  async #withToken<Value>(work: (token: string) => Promise<Value>): Promise<Value> {
    const { redaction } = this.#options;
    const token = await this.#token();
    redaction.add(token);
    try {
      return await work(token);
    } finally {
      redaction.remove(token);
    }
  }

  /** By a grant of this run, or where none is fresh enough by what the run is about. */
  async #token(): Promise<string> {
    const { api } = this.#caller();
    const { run } = this.#hands;
    const grant = run.grants.findLast(({ attempt }) => attempt === run.state.attempt)?.grant;
    const command =
      (run.steps.find(({ preparation }) => preparation !== 'none') ?? run.steps[0])?.command ?? '';
    if (grant !== undefined) {
      try {
        return await api.githubToken({ grant });
      } catch (error) {
        if (runFailure(error).kind !== 'denied') throw error;
      }
    }
    return api.githubToken({ host: run.host, command });
  }

  #caller(): Caller {
    const caller = this.#options.caller();
    if (caller !== undefined) return caller;
    throw new BrokerError(
      'session-ended',
      'the login that this run was begun with is over: log in again, and then look, resume or undo',
    );
  }

  #requirePiece(): Piece {
    if (this.#piece === undefined) throw new BrokerError('internal', 'there is no certificate');
    return this.#piece;
  }

  #requireSession(): RunSession {
    if (this.#session === undefined) throw new BrokerError('session-lost', 'there is no session');
    return this.#session;
  }
}

/** Does not wait for what nobody wants any more. */
function unlessAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const give = (): void => reject(new BrokerError('aborted', 'it was left before the answer had come'));
    if (signal.aborted) give();
    signal.addEventListener('abort', give, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', give));
  });
}
