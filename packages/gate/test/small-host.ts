/**
 * A whole host made small: its folder, its trust documents signed by throw-away keys, a CA that signs certificates with
 * grants, and sessions whose two ends are in this process. Time stands still until a test moves it. As root the commands
 * run in real control groups as `nobody`, otherwise without root.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { type GateEvent, parseGateEvent } from '@beacon/protocol/gate-event';
import { formatGateRequest, type GateRequest } from '@beacon/protocol/gate-request';
import { formatHostIdentity } from '@beacon/protocol/trust';
import {
  type Asked,
  type Certified,
  type CertifyOptions,
  lineOf,
  type PublishOptions,
  ThrowAwayCa,
} from '../../../infra/lab/throw-away-ca.ts';
import { admit } from '../src/admit.ts';
import { createControlGroups, findControlGroups } from '../src/control-group.ts';
import { EventOutput } from '../src/event-output.ts';
import type { Execution } from '../src/execution.ts';
import { type Gate, openGate } from '../src/gate.ts';
import { LineInput } from '../src/line-input.ts';
import { type Places, placesBelow } from '../src/places.ts';
import { createRootlessProcesses } from '../src/rootless-process.ts';
import { openSession } from '../src/session.ts';

export const HOST = 'build-01';
export const LOGIN = 'beacon';

export const isRoot = process.getuid?.() === 0;
const groups = isRoot ? findControlGroups() : undefined;

export { type Asked, type CertifyOptions, invocation, lineOf } from '../../../infra/lab/throw-away-ca.ts';

export class SmallHost {
  readonly folder: string;
  readonly places: Places;
  readonly execution: Execution;
  readonly records: string[] = [];
  readonly workerUid = groups === undefined ? (process.getuid?.() ?? 0) : 65534;
  readonly groups = groups === undefined ? undefined : `${groups}-test-${randomBytes(4).toString('hex')}`;
  /** Milliseconds since 1970. */
  clock = Date.UTC(2026, 10, 22, 12);
  readonly now = (): Date => new Date(this.clock);
  readonly ca = new ThrowAwayCa({ host: HOST, login: LOGIN }, this.now);
  #trustNumber = 0;

  private constructor(folder: string) {
    this.folder = folder;
    this.places = { ...placesBelow(folder), passwd: join(folder, 'etc/passwd') };
    mkdirSync(join(folder, 'run/beacon/held'), { recursive: true });
    this.execution =
      this.groups === undefined
        ? createRootlessProcesses(this.places.held)
        : createControlGroups(this.groups);
  }

  static async open(allowlist: object = { version: 1, commands: {} }): Promise<SmallHost> {
    const folder = mkdtempSync(join(tmpdir(), 'beacon-gate-'));
    chmodSync(folder, 0o755);
    const host = new SmallHost(folder);
    mkdirSync(join(folder, 'etc/beacon/trust'), { recursive: true });
    mkdirSync(join(folder, 'commands'));
    writeFileSync(
      host.places.identity,
      formatHostIdentity({ host: HOST, login: LOGIN, rootKey: lineOf(host.ca.rootKey) }),
    );
    const [uid, gid] = groups === undefined ? [process.getuid?.(), process.getgid?.()] : [65534, 65534];
    const names = ['worker', 'pool-1', 'pool-2', 'pool-x'];
    writeFileSync(
      host.places.passwd,
      names.map((name) => `${name}:x:${uid}:${gid}:${name}:/nonexistent:/usr/sbin/nologin\n`).join(''),
    );
    host.allow(allowlist);
    await host.publish();
    return host;
  }

  allow(allowlist: object): void {
    writeFileSync(this.places.allowlist, JSON.stringify(allowlist));
  }

  /** A command of the host: a shell script, whose path is the result. */
  script(name: string, body: string): string {
    const path = join(this.folder, 'commands', name);
    writeFileSync(path, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    chmodSync(path, 0o755);
    return path;
  }

  /** Makes a session's process one that is gone. */
  disown(serial: string): void {
    const path = join(this.places.sessions, `${serial}.json`);
    const state = JSON.parse(readFileSync(path, 'utf8')) as object;
    writeFileSync(path, JSON.stringify({ ...state, owner: { pid: 1, start: '0', boot: 'another' } }));
  }

  /** From now on no record and no session can be written: folders stand in the place of the files. */
  fillDisk(): void {
    rmSync(this.places.records, { force: true });
    mkdirSync(this.places.records);
    rmSync(this.places.sessions, { recursive: true, force: true });
  }

  /** Gives the folder to an account without rights, where this process is root; the result starts a program as it. */
  leave(): { readonly uid?: number; readonly gid?: number } {
    if (!isRoot) return {};
    execFileSync('chown', ['-hR', '65534:65534', this.folder]);
    return { uid: 65534, gid: 65534 };
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text);
  }

  /** A folder of the host that its commands may write to. */
  openFolder(name: string): void {
    mkdirSync(join(this.folder, name));
    chmodSync(join(this.folder, name), 0o777);
  }

  /** Signs and installs the next trust documents; the result is their folder. */
  async publish(changes: PublishOptions = {}): Promise<string> {
    return this.install(await this.ca.publish(changes));
  }

  /** Lays files down as a set of trust documents and points `current` at it; the result is their folder. */
  install(files: Readonly<Record<string, string | Buffer>>): string {
    const folder = join(this.folder, 'etc/beacon/trust', String(++this.#trustNumber));
    mkdirSync(folder);
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    if (existsSync(this.places.trust)) unlinkSync(this.places.trust);
    symlinkSync(folder, this.places.trust);
    return folder;
  }

  gate(): Gate {
    return openGate({
      places: this.places,
      owner: { uid: process.getuid?.() ?? 0, below: this.folder },
      now: this.now,
      execution: this.execution,
      observe: (line) => this.records.push(line),
    });
  }

  certify(commands: readonly Asked[], options: CertifyOptions = {}): Promise<Certified> {
    return this.ca.certify(commands, options);
  }

  /** Admits the certificate and begins its session. */
  session(blob: Buffer, gate = this.gate()): Client {
    return new Client(gate, blob);
  }

  /** What the chain says, as kinds with the facts that matter here. */
  kinds(): string[] {
    return this.records.map((line) => (JSON.parse(line) as { kind: string }).kind);
  }

  chain(): string[] {
    return readFileSync(this.places.records, 'utf8').trimEnd().split('\n');
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
    if (this.groups !== undefined && existsSync(this.groups)) rmdirSync(this.groups);
  }
}

/** The other end of a session. */
export class Client {
  readonly ended: Promise<string>;
  readonly events: GateEvent[] = [];
  readonly #input = new PassThrough();
  readonly #output = new PassThrough();
  #rest = '';
  #wake: () => void = () => undefined;
  #nextId = 0;

  constructor(gate: Gate, blob: Buffer) {
    const admission = admit(blob, gate);
    this.#output.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    this.ended = openSession({
      gate,
      admission,
      input: new LineInput(this.#input),
      output: new EventOutput(this.#output),
    }).run();
  }

  /** Sends a request for a command and waits for how it ended. */
  async run({ asked, undo }: Asked): Promise<GateEvent & { event: 'exit' | 'refused' }> {
    const id = this.start({ asked, ...(undo === undefined ? {} : { undo }) });
    return this.exitOf(id);
  }

  start({ asked, undo }: Asked): number {
    return this.send({ kind: 'command', asked, ...(undo === undefined ? {} : { undo }) });
  }

  exitOf(id: number): Promise<GateEvent & { event: 'exit' | 'refused' }> {
    return this.find(
      (event): event is GateEvent & { event: 'exit' | 'refused' } =>
        (event.event === 'exit' || event.event === 'refused') && event.id === id,
    );
  }

  send(request: DistributiveOmit<GateRequest, 'id'>): number {
    const id = ++this.#nextId;
    this.write(formatGateRequest({ ...request, id } as GateRequest));
    return id;
  }

  write(line: string): void {
    this.#input.write(`${line}\n`);
  }

  /** Waits until a command has written this to its standard output. */
  async says(text: string): Promise<void> {
    await this.find((event): event is GateEvent => event.event === 'stdout' && this.output().includes(text));
  }

  /** The first event for which `wanted` holds, waited for. */
  async find<Event extends GateEvent>(wanted: (event: GateEvent) => event is Event): Promise<Event> {
    for (;;) {
      const found = this.events.find(wanted);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** What a command wrote to a stream. */
  output(stream: 'stdout' | 'stderr' = 'stdout', id?: number): string {
    return this.events
      .flatMap((event) => (event.event === stream && (id === undefined || event.id === id) ? [event] : []))
      .map((event) => ('text' in event ? event.text : Buffer.from(event.base64, 'base64').toString('latin1')))
      .join('');
  }

  /** Says that the run is complete. */
  end(): Promise<string> {
    this.send({ kind: 'end' });
    return this.ended;
  }

  /** The connection is gone. */
  cut(): Promise<string> {
    this.#input.end();
    return this.ended;
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.events.push(parseGateEvent(line));
    this.#wake();
  }
}

type DistributiveOmit<Union, Key extends PropertyKey> = Union extends unknown ? Omit<Union, Key> : never;
