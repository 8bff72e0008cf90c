/**
 * Connections to gates (DESIGN.md section 3.4): one `ssh`, one session, one gate for each call, never shared between runs
 * or people (ATTACKS.md R5). The key stays in this process, behind an agent's socket; what ssh reads lies in a folder that
 * only we enter, and which is gone as soon as the gate has said `hello` or there is none. How many there may be at once is
 * bounded, and a host that is busy is asked again after a while, a few times. When `dial` throws, nothing was sent.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import type { ObtainedCertificate } from '@beacon/client';
import { parsePrincipal } from '@beacon/protocol/name';
import { ConnectionSlots } from './connection-slots.ts';
import { type DialFolder, makeDialFolder, sweepDialFolders } from './dial-folder.ts';
import { BrokerError } from './error.ts';
import { type GateSession, killSsh, NoSession, openGateSession, type SshProcess } from './gate-session.ts';
import { type JumpHost, sshArguments } from './ssh-arguments.ts';
import { explainStart, type SshEnd } from './ssh-failure.ts';

export interface DialOptions {
  readonly obtained: ObtainedCertificate;
  /** The CA's revocation list, at most seconds old (`CaApi.revocationList`): a host certificate in it vouches for nobody. */
  readonly revokedHosts: Buffer;
  readonly signal?: AbortSignal;
  /** Hears what is waited for, in words for the person. */
  readonly onNote?: (text: string) => void;
}

export interface Dialer {
  /** A session whose `hello` was said. Throws BrokerError; nothing was sent to a gate then. */
  dial(options: DialOptions): Promise<GateSession>;
  /** Refuses what comes, and leaves all sessions without a word. */
  close(): Promise<void>;
}

export interface DialerOptions {
  /** Absolute: nothing is looked for in a PATH. */
  readonly sshPath?: string;
  readonly proxyJump?: JumpHost;
  readonly maxConnections?: number;
  readonly maxPerHost?: number;
  readonly connectTimeoutSeconds?: number;
  readonly serverAliveSeconds?: number;
  /** How often a busy host is asked again. */
  readonly retries?: number;
  /** Where the folders are made; the system's for temporary files unless given. */
  readonly directory?: string;
  readonly now: () => Date;
  /** From 0 up to and without 1. */
  readonly random: () => number;
}

/** sshd begins to turn away at ten that have not logged in (its MaxStartups). */
const MAX_PER_HOST = 8;
const MAX_CONNECTIONS = 256;
/** More logins at once than this only slow each other down. */
const MAX_STARTING = 32;
const MAX_WAITING = 1_000;
const CONNECT_TIMEOUT_SECONDS = 10;
const SERVER_ALIVE_SECONDS = 15;
const RETRIES = 6;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8_000;
/** For the login and for the gate's own start, after the connection itself. */
const HELLO_MS = 30_000;
const MAX_STDERR_CHARACTERS = 16_384;
const LAST_WORD_MS = 500;

export function createDialer(options: DialerOptions): Dialer {
  return new SshDialer(options);
}

class SshDialer implements Dialer {
  readonly #options: DialerOptions;
  readonly #slots: ConnectionSlots;
  readonly #starting = new ConnectionSlots({
    inAll: MAX_STARTING,
    perHost: MAX_STARTING,
    waiting: Number.POSITIVE_INFINITY,
  });
  readonly #running = new Set<SshProcess>();
  readonly #closing = new AbortController();

  constructor(options: DialerOptions) {
    this.#options = options;
    this.#slots = new ConnectionSlots({
      inAll: options.maxConnections ?? MAX_CONNECTIONS,
      perHost: options.maxPerHost ?? MAX_PER_HOST,
      waiting: MAX_WAITING,
    });
    sweepDialFolders(options.directory);
  }

  async dial({
    obtained,
    revokedHosts,
    signal,
    onNote = () => undefined,
  }: DialOptions): Promise<GateSession> {
    const host = obtained.host.id;
    const stop = AbortSignal.any([this.#closing.signal, ...(signal === undefined ? [] : [signal])]);
    let release = (): void => undefined;
    try {
      release = await this.#slots.take(host, stop, onNote);
      for (let tries = 0; ; tries += 1) {
        this.#requireValid(obtained);
        const result = await this.#try(obtained, revokedHosts, stop, release);
        stop.throwIfAborted();
        if (!(result instanceof NoSession)) return result;
        if (!result.isBusy || tries >= (this.#options.retries ?? RETRIES)) throw result.error;
        onNote(`${result.error.message.split(':')[0]}; asked again soon (${tries + 1})`);
        await delay(this.#pauseMs(tries), undefined, { signal: stop });
      }
    } catch (error) {
      release();
      if (stop.aborted) throw this.#stopped();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const ended = [...this.#running].map((ssh) => ssh.ended);
    for (const ssh of this.#running) killSsh(ssh);
    await Promise.all(ended);
  }

  /** One call of ssh. With a session, the place is given back when ssh has gone. */
  async #try(
    obtained: ObtainedCertificate,
    revokedHosts: Buffer,
    stop: AbortSignal,
    release: () => void,
  ): Promise<GateSession | NoSession> {
    const started = await this.#starting.take('', stop, () => undefined);
    let folder: DialFolder | undefined;
    try {
      folder = await makeDialFolder(obtained, revokedHosts, this.#options.directory);
      stop.throwIfAborted();
      const ssh = this.#start(obtained, folder);
      const kill = (): void => killSsh(ssh);
      stop.addEventListener('abort', kill, { once: true });
      const patienceMs = this.#connectTimeoutSeconds() * 1_000 + HELLO_MS;
      const isBehindJump = this.#options.proxyJump !== undefined;
      const expected = { host: obtained.host.id, grant: obtained.grant, isBehindJump, patienceMs };
      const session = await openGateSession(ssh, expected);
      stop.removeEventListener('abort', kill);
      if (stop.aborted) {
        if (!(session instanceof NoSession)) session.kill();
      } else if (!(session instanceof NoSession)) {
        void ssh.ended.then(release);
      }
      return session;
    } finally {
      started();
      await folder?.remove();
    }
  }

  #start(obtained: ObtainedCertificate, folder: DialFolder): SshProcess {
    const { sshPath = '/usr/bin/ssh', proxyJump } = this.#options;
    const [principal = ''] = obtained.certificate.principals;
    const call = sshArguments({
      host: obtained.host,
      login: parsePrincipal(principal).login,
      sshPath,
      connectTimeoutSeconds: this.#connectTimeoutSeconds(),
      serverAliveSeconds: this.#options.serverAliveSeconds ?? SERVER_ALIVE_SECONDS,
      ...folder.paths,
      ...(proxyJump === undefined ? {} : { proxyJump }),
    });
    // Its own process group: what is typed at the broker's terminal ends the broker, which then ends its runs.
    const child: ChildProcess = spawn(sshPath, call, { env: {}, cwd: '/', stdio: 'pipe', detached: true });
    const ended = endOf(child);
    const { stdin, stdout } = child;
    // So it is where there are too many open files.
    if (stdin === null || stdin === undefined || stdout === null) throw explainStart(new Error('no pipes'));
    // Without a listener a connection that is gone would end the broker: whoever writes hears of it.
    stdin.on('error', () => undefined);
    const ssh: SshProcess = { child, stdin, stdout, ended };
    this.#running.add(ssh);
    void ended.then(() => this.#running.delete(ssh));
    return ssh;
  }

  /** A certificate that sshd must refuse would count as a failed attempt of this broker's address. */
  #requireValid({ certificate, host }: ObtainedCertificate): void {
    const now = BigInt(Math.floor(this.#options.now().getTime() / 1_000));
    if (now >= certificate.validBefore) {
      throw new BrokerError(
        'certificate-refused',
        `the certificate for ${host.id} ended before the host could be reached: start the run again`,
      );
    }
    if (now < certificate.validAfter) {
      throw new BrokerError(
        'clock-skew',
        "the certificate is not valid yet by this broker's clock: the broker's operator sets the clock right",
      );
    }
  }

  /** Longer each time, and never the same for two that were turned away together. */
  #pauseMs(tries: number): number {
    const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** tries);
    return most / 2 + (this.#options.random() * most) / 2;
  }

  #connectTimeoutSeconds(): number {
    return this.#options.connectTimeoutSeconds ?? CONNECT_TIMEOUT_SECONDS;
  }

  #stopped(): BrokerError {
    return this.#closing.signal.aborted
      ? new BrokerError('closed', 'the broker is being stopped: try again when it is there again')
      : new BrokerError(
          'aborted',
          'the run was cancelled before the host was reached; nothing was sent to it',
        );
  }
}

/** Keeps the end of what it says. */
function endOf(child: ChildProcess): Promise<SshEnd> {
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-MAX_STDERR_CHARACTERS);
  });
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ stderr, status: null, signal: null, error }));
    child.once('exit', (status, signal) => {
      const tell = (): void => resolve({ stderr, status, signal });
      if (child.stderr === null || child.stderr.closed) return tell();
      // What it said last may still be in the pipe; but the jump host's ssh may hold the other end.
      const timer = setTimeout(tell, LAST_WORD_MS);
      child.stderr.once('close', () => {
        clearTimeout(timer);
        tell();
      });
    });
  });
}
