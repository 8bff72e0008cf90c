/** OpenSSH's own client to a gate: one connection, one session, lines both ways. Knows nothing of this machine's files. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type GateEvent, parseGateEvent } from '@beacon/protocol/gate-event';
import { formatGateRequest, type GateRequest } from '@beacon/protocol/gate-request';
import {
  formatCertificateLine,
  formatKnownHost,
  formatPrivateKey,
  type KeyPair,
  type PublicKey,
} from '@beacon/ssh';
import type { GateTarget } from './managed-host.ts';
import type { Asked } from './throw-away-ca.ts';

export interface ConnectOptions {
  /** More words for ssh, before the target. */
  readonly options?: readonly string[];
  /** What is asked of sshd to run; nothing by default, which asks for a shell. */
  readonly command?: readonly string[];
  readonly login?: string;
  /** Who vouches for the host by a certificate. Without any, its key is known. */
  readonly authorities?: readonly PublicKey[];
}

type WithoutId<Union> = Union extends unknown ? Omit<Union, 'id'> : never;
type Answer = GateEvent & { readonly event: 'exit' | 'refused' };

const IDENTITY = 'key';

export class GateConnection {
  readonly process: ChildProcessWithoutNullStreams;
  readonly events: GateEvent[] = [];
  /** ssh's own status when it has ended. */
  readonly ended: Promise<number | null>;
  /** What was no line of a gate: there should be none. */
  stray = '';
  stderr = '';
  #rest = '';
  #isEnded = false;
  readonly #waiting: (() => void)[] = [];
  #nextId = 0;

  private constructor(process: ChildProcessWithoutNullStreams, folder: string) {
    this.process = process;
    process.stdin.on('error', () => undefined);
    process.stdout.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = new Promise((resolve) => {
      process.on('close', (status) => {
        rmSync(folder, { recursive: true, force: true });
        this.#isEnded = true;
        this.#wake();
        resolve(status);
      });
    });
  }

  static async open(
    host: GateTarget,
    { blob, key }: { readonly blob: Buffer; readonly key: KeyPair },
    { options = [], command = [], login = 'beacon', authorities }: ConnectOptions = {},
  ): Promise<GateConnection> {
    const folder = mkdtempSync(join(tmpdir(), 'beacon-gate-ssh-'));
    const at = (name: string): string => join(folder, name);
    writeFileSync(at(IDENTITY), await formatPrivateKey(key.privateKey), { mode: 0o600 });
    writeFileSync(at(`${IDENTITY}-cert.pub`), `${formatCertificateLine(blob)}\n`);
    writeFileSync(at('known_hosts'), `${knownHosts(host, authorities)}\n`);
    const settings = [
      'BatchMode=yes',
      'IdentitiesOnly=yes',
      'IdentityAgent=none',
      `CertificateFile=${at(`${IDENTITY}-cert.pub`)}`,
      `UserKnownHostsFile=${at('known_hosts')}`,
      'GlobalKnownHostsFile=none',
      'StrictHostKeyChecking=yes',
      `HostKeyAlias=${host.name}`,
      'KexAlgorithms=curve25519-sha256',
      'LogLevel=ERROR',
      `Port=${host.port ?? 22}`,
      ...(authorities === undefined ? [] : ['HostKeyAlgorithms=ssh-ed25519-cert-v01@openssh.com']),
    ].flatMap((setting) => ['-o', setting]);
    const target = [`${login}@${host.address}`, ...command];
    const child = spawn('ssh', ['-F', 'none', '-i', at(IDENTITY), ...settings, ...options, ...target], {
      env: { PATH: '/usr/bin:/bin' },
      stdio: 'pipe',
    });
    return new GateConnection(child, folder);
  }

  send(request: WithoutId<GateRequest>): number {
    const id = ++this.#nextId;
    this.write(`${formatGateRequest({ ...request, id } as GateRequest)}\n`);
    return id;
  }

  write(text: string): void {
    this.process.stdin.write(text);
  }

  start({ asked, undo }: Asked): number {
    return this.send({ kind: 'command', asked, ...(undo === undefined ? {} : { undo }) });
  }

  /** Sends a request and waits for its end. */
  run(asked: Asked): Promise<Answer> {
    return this.exitOf(this.start(asked));
  }

  exitOf(id: number): Promise<Answer> {
    return this.find(
      (event): event is Answer => (event.event === 'exit' || event.event === 'refused') && event.id === id,
    );
  }

  says(text: string): Promise<GateEvent> {
    return this.find((event): event is GateEvent => event.event === 'stdout' && this.output().includes(text));
  }

  /** The first event for which `wanted` holds. Throws when the connection ends before. */
  async find<Event extends GateEvent>(wanted: (event: GateEvent) => event is Event): Promise<Event> {
    for (let from = 0; ; ) {
      const found = this.events.slice(from).find(wanted);
      if (found !== undefined) return found;
      from = this.events.length;
      if (this.#isEnded) {
        throw new Error(
          `the connection ended: ${JSON.stringify(this.events.at(-1))} ${this.stderr}${this.stray}`,
        );
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  hello(): Promise<GateEvent & { readonly event: 'hello' }> {
    return this.find((event): event is GateEvent & { event: 'hello' } => event.event === 'hello');
  }

  output(stream: 'stdout' | 'stderr' = 'stdout'): string {
    return this.events
      .flatMap((event) => (event.event === stream ? [event] : []))
      .map((event) => ('text' in event ? event.text : Buffer.from(event.base64, 'base64').toString('latin1')))
      .join('');
  }

  end(): Promise<number | null> {
    this.send({ kind: 'end' });
    return this.ended;
  }

  /** The client is gone, without a word to sshd. */
  kill(): Promise<number | null> {
    this.process.kill('SIGKILL');
    return this.ended;
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      try {
        this.events.push(parseGateEvent(line));
      } catch {
        this.stray += `${line}\n`;
      }
    }
    this.#wake();
  }
}

function knownHosts({ name, hostKey }: GateTarget, authorities: readonly PublicKey[] | undefined): string {
  if (authorities === undefined) return `${name} ${hostKey.split(' ').slice(0, 2).join(' ')}`;
  return authorities
    .map((key) => formatKnownHost({ host: name, port: 22, key, isAuthority: true }))
    .join('\n');
}
