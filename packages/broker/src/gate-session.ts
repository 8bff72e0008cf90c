/**
 * One session with a gate over a running `ssh` (DESIGN.md section 5, "Session"): requests out, events in, in order, and
 * how it ended. What nobody takes is not read, so the gate waits. Whatever is no gate's line, or a gate's out of its
 * order, ends the session. Does not know how the connection was made.
 */
import type { ChildProcess } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { type GateEvent, parseGateEvent } from '@beacon/protocol/gate-event';
import { formatGateRequest, GATE_LINE_MAX_BYTES, type GateRequest } from '@beacon/protocol/gate-request';
import { BrokerError } from './error.ts';
import { GateLines } from './gate-lines.ts';
import { explainRefusal } from './gate-refusal.ts';
import { explainEnd, explainSsh, type SshEnd } from './ssh-failure.ts';

export type Hello = GateEvent & { readonly event: 'hello' };

export type SessionEnd = { readonly how: 'closed' } | { readonly how: 'lost'; readonly reason: string };

export interface GateSession {
  readonly hello: Hello;
  /** Resolves when it was handed to the connection. Throws BrokerError `session-lost`, or `request-malformed` if too long. */
  send(request: GateRequest): Promise<void>;
  /**
   * What comes after `hello`; one reader at a time. Leaving a loop over it ends nothing: a later loop goes on where that
   * one left. It is over after `closed`, or when the session is lost.
   */
  readonly events: AsyncIterable<GateEvent>;
  /** Known when `events` is over, so somebody has to take them, or after `kill`. Never rejects. */
  readonly end: Promise<SessionEnd>;
  /** The client goes without a word, and the gate takes back what it can. */
  kill(): void;
}

export interface SshProcess {
  readonly child: ChildProcess;
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** When it is gone, with what it said. */
  readonly ended: Promise<SshEnd>;
}

export interface Expected {
  readonly host: string;
  readonly grant: string;
  readonly isBehindJump: boolean;
  /** How long `hello` may take. */
  readonly patienceMs: number;
  /** How long a gate may say nothing at all; 90 s unless given. */
  readonly silenceMs?: number;
}

/** Why there is no session; `isBusy` where trying again may help and harms nothing. */
export class NoSession {
  readonly error: BrokerError;
  readonly isBusy: boolean;

  constructor(error: BrokerError, isBusy: boolean) {
    this.error = error;
    this.isBusy = isBusy;
  }
}

/** After its last word ssh has so long to go by itself. */
const LEAVE_MS = 5_000;
/** A gate says every 10 s that it is there; ssh alone does not notice one that hangs, say on its disk. */
const SILENCE_MS = 90_000;
const AWAKE_MS = 500;

/** Waits for `hello`. Never rejects; without a session ssh is gone. */
export async function openGateSession(ssh: SshProcess, expected: Expected): Promise<GateSession | NoSession> {
  const lines = new GateLines(ssh.stdout);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    leave(ssh);
  }, expected.patienceMs);
  try {
    const line = await lines.next();
    if (line === undefined) {
      const failure = explainSsh(expected.host, await goneOf(ssh), expected.isBehindJump);
      return isLate ? new NoSession(tooLate(expected), false) : new NoSession(failure.error, failure.isBusy);
    }
    const event = parse(line);
    if (event.event === 'refused' && event.id === undefined) {
      const error = explainRefusal(expected.host, event.code, event.reason);
      return await without(ssh, error, error.code === 'gate-busy');
    }
    if (event.event !== 'hello') throw malformed(`it began with ${event.event}`);
    if (event.host !== expected.host) throw malformed(`it is the gate of ${event.host}`);
    if (event.grant !== expected.grant) throw malformed('it opened for another grant');
    return new OpenSession(ssh, lines, { hello: event, silenceMs: expected.silenceMs ?? SILENCE_MS });
  } catch (error) {
    return await without(ssh, error instanceof BrokerError ? error : malformed('it failed', error), false);
  } finally {
    clearTimeout(timer);
  }
}

class OpenSession implements GateSession {
  readonly hello: Hello;
  readonly events: AsyncIterable<GateEvent>;
  readonly end: Promise<SessionEnd>;
  readonly #ssh: SshProcess;
  readonly #lines: GateLines;
  readonly #silenceMs: number;
  #finish: (end: SessionEnd) => void = () => undefined;
  #isOver = false;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(ssh: SshProcess, lines: GateLines, opened: { hello: Hello; silenceMs: number }) {
    this.hello = opened.hello;
    this.#silenceMs = opened.silenceMs;
    this.#ssh = ssh;
    this.#lines = lines;
    this.end = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.events = { [Symbol.asyncIterator]: () => ({ next: () => this.#next() }) };
  }

  async send(request: GateRequest): Promise<void> {
    const line = formatGateRequest(request);
    if (Buffer.byteLength(line) > GATE_LINE_MAX_BYTES) {
      throw new BrokerError(
        'request-malformed',
        `what is to be asked of the host is longer than ${GATE_LINE_MAX_BYTES} bytes: shorten the parameters`,
      );
    }
    if (this.#isOver) throw lost();
    await new Promise<void>((resolve, reject) => {
      this.#ssh.stdin.write(`${line}\n`, (error) => (error ? reject(lost(error)) : resolve()));
    });
  }

  kill(): void {
    this.#over({ how: 'lost', reason: 'the broker left the session' });
    leave(this.#ssh);
  }

  #next(): Promise<IteratorResult<GateEvent, undefined>> {
    const next = this.#reading.then(() => this.#read());
    this.#reading = next;
    return next;
  }

  /** Never rejects. */
  async #read(): Promise<IteratorResult<GateEvent, undefined>> {
    const over = { done: true, value: undefined } as const;
    if (this.#isOver) return over;
    let silence = setTimeout(() => {
      // A broker that was stopped itself reads first what has come meanwhile.
      silence = setTimeout(() => this.#giveUp(), AWAKE_MS);
    }, this.#silenceMs);
    try {
      const line = await this.#lines.next();
      if (this.#isOver) return over;
      if (line === undefined) {
        this.#over({ how: 'lost', reason: explainEnd(await goneOf(this.#ssh)) });
        return over;
      }
      const event = parse(line);
      if (event.event === 'hello') throw malformed('it began anew');
      if (event.event === 'closed') this.#close();
      return { done: false, value: event };
    } catch (error) {
      leave(this.#ssh);
      this.#over({ how: 'lost', reason: error instanceof Error ? error.message : 'it failed' });
      return over;
    } finally {
      clearTimeout(silence);
    }
  }

  #giveUp(): void {
    const seconds = Math.round(this.#silenceMs / 1_000);
    this.#over({ how: 'lost', reason: `the gate has said nothing for ${seconds} s: the host may hang` });
    leave(this.#ssh);
  }

  #close(): void {
    this.#over({ how: 'closed' });
    this.#ssh.stdin.end();
    this.#ssh.stdout.resume();
    void goneOf(this.#ssh);
  }

  #over(end: SessionEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#finish(end);
  }
}

async function without(ssh: SshProcess, error: BrokerError, isBusy: boolean): Promise<NoSession> {
  leave(ssh);
  await ssh.ended;
  return new NoSession(error, isBusy);
}

/** ssh has said its last, and goes by itself or is told to. */
async function goneOf(ssh: SshProcess): Promise<SshEnd> {
  const timer = setTimeout(() => leave(ssh), LEAVE_MS);
  const end = await ssh.ended;
  clearTimeout(timer);
  return end;
}

function leave(ssh: SshProcess): void {
  killSsh(ssh);
  ssh.stdout.destroy();
}

/** With all of its group: the ssh to a jump host would stay as long as that waits for a host which does not answer. */
export function killSsh({ child }: SshProcess): void {
  const { pid, exitCode, signalCode } = child;
  if (pid === undefined || exitCode !== null || signalCode !== null) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It leads no group.
    child.kill('SIGKILL');
  }
}

function parse(line: string): GateEvent {
  try {
    return parseGateEvent(line);
  } catch (error) {
    throw malformed('it wrote a line that no gate writes', error);
  }
}

function malformed(why: string, cause?: unknown): BrokerError {
  return new BrokerError(
    'gate-malformed',
    `what answered is no gate of ours: ${why}. The host's operator runs beacon host check there`,
    { cause },
  );
}

function lost(cause?: unknown): BrokerError {
  return new BrokerError('session-lost', 'the connection to the host is gone: look what became of the run', {
    cause,
  });
}

function tooLate({ host, patienceMs }: Expected): BrokerError {
  return new BrokerError(
    'host-unreachable',
    `${host} opened no gate within ${Math.round(patienceMs / 1_000)} s: it may be overloaded; try again, and if it stays so its operator runs beacon host check there`,
  );
}
