/**
 * A whole host made small: its folder, its trust documents signed by throw-away keys, a CA that signs certificates with
 * grants, and sessions whose two ends are in this process. Time stands still until a test moves it. As root the commands
 * run in real control groups as `nobody`, otherwise without root.
 */
import { createHash, randomBytes } from 'node:crypto';
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
import {
  formatGateRequest,
  type GateRequest,
  type Invocation,
  invocationDigest,
} from '@beacon/protocol/gate-request';
import { formatGrant, type Grant } from '@beacon/protocol/grant';
import { createId } from '@beacon/protocol/id';
import {
  formatHostIdentity,
  formatTrustRoot,
  formatTrustStatus,
  TRUST_ROOT_NAMESPACE,
  TRUST_STATUS_NAMESPACE,
  type TrustRoot,
  type TrustStatus,
} from '@beacon/protocol/trust';
import {
  createSigner,
  createUserCa,
  encodeKrl,
  formatMessageSignature,
  formatPublicKeyLine,
  generateKey,
  type KeyPair,
  signMessage,
  signUserCertificate,
  type UserCertificateFields,
} from '@beacon/ssh';
import { admit } from '../src/admit.ts';
import { createControlGroups, findControlGroups } from '../src/control-group.ts';
import { EventOutput } from '../src/event-output.ts';
import type { Execution } from '../src/execution.ts';
import { type Gate, openGate } from '../src/gate.ts';
import { LineInput } from '../src/line-input.ts';
import { type Places, placesBelow } from '../src/places.ts';
import { createRootlessProcesses } from '../src/rootless-process.ts';
import { runSession } from '../src/session.ts';

export const HOST = 'build-01';
export const LOGIN = 'beacon';
export const PERSON = 'github:583231';

export const isRoot = process.getuid?.() === 0;
const groups = isRoot ? findControlGroups() : undefined;

export function invocation(
  command: string,
  params: Readonly<Record<string, string>> = {},
  secrets: Readonly<Record<string, string>> = {},
): Invocation {
  return {
    command,
    params: JSON.stringify(params),
    salt: randomBytes(32),
    secrets: new Map(
      Object.entries(secrets).map(([name, value]) => [name, { salt: randomBytes(32), value }]),
    ),
  };
}

export interface Asked {
  readonly asked: Invocation;
  readonly undo?: Invocation;
}

export interface GrantOptions {
  readonly grant?: Partial<Grant>;
  readonly fields?: Partial<UserCertificateFields>;
  readonly key?: KeyPair;
  readonly ca?: KeyPair;
  readonly lifetimeSeconds?: number;
}

export class SmallHost {
  readonly folder: string;
  readonly places: Places;
  readonly execution: Execution;
  readonly records: string[] = [];
  readonly workerUid = groups === undefined ? (process.getuid?.() ?? 0) : 65534;
  readonly groups = groups === undefined ? undefined : `${groups}-test-${randomBytes(4).toString('hex')}`;
  readonly userCa = generateKey('ssh-ed25519');
  readonly rootKey = generateKey('ssh-ed25519');
  readonly statusKey = generateKey('ssh-ed25519');
  /** Milliseconds since 1970. */
  clock = Date.UTC(2026, 10, 22, 12);
  #serial = 1n;
  #trustNumber = 0;
  #statusVersion = 0;

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
      formatHostIdentity({ host: HOST, login: LOGIN, rootKey: lineOf(host.rootKey) }),
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

  readonly now = (): Date => new Date(this.clock);

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

  /** A folder of the host that its commands may write to. */
  openFolder(name: string): void {
    mkdirSync(join(this.folder, name));
    chmodSync(join(this.folder, name), 0o777);
  }

  /** Signs and installs the next status, and a root with it. */
  async publish(
    changes: {
      readonly revoked?: readonly bigint[];
      readonly status?: Partial<TrustStatus>;
      readonly root?: Partial<TrustRoot>;
      readonly krl?: Buffer;
      readonly signStatusWith?: KeyPair;
      readonly signRootWith?: KeyPair;
    } = {},
  ): Promise<string> {
    const issued = this.now();
    const later = (hours: number): Date => new Date(issued.getTime() + hours * 3_600_000);
    const root = formatTrustRoot({
      version: 1,
      issued: new Date(Date.UTC(2026, 0, 1)),
      expires: new Date(Date.UTC(2027, 0, 1)),
      hosts: 'build-[0-9]+',
      logins: [LOGIN],
      userCa: [lineOf(this.userCa)],
      hostCa: [],
      statusKey: lineOf(this.statusKey),
      ...changes.root,
    });
    const krl =
      changes.krl ??
      encodeKrl({
        version: 1n,
        generated: issued,
        comment: 'test',
        authorities:
          changes.revoked === undefined
            ? []
            : [
                {
                  ca: this.userCa.publicKey,
                  serials: changes.revoked.map((serial) => ({ first: serial, last: serial })),
                  keyIds: [],
                },
              ],
      });
    const status = formatTrustStatus({
      version: ++this.#statusVersion,
      rootVersion: 1,
      issued,
      expires: later(24),
      krl: { sha256: createHash('sha256').update(krl).digest('hex'), bytes: krl.length },
      halt: [],
      ...changes.status,
    });
    return this.install({
      'root.json': root,
      'root.json.sig': await sign(changes.signRootWith ?? this.rootKey, TRUST_ROOT_NAMESPACE, root),
      'status.json': status,
      'status.json.sig': await sign(changes.signStatusWith ?? this.statusKey, TRUST_STATUS_NAMESPACE, status),
      krl,
    });
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

  /** A certificate whose grant names these commands. */
  async certify(
    commands: readonly Asked[],
    options: GrantOptions = {},
  ): Promise<{ blob: Buffer; grant: Grant; serial: bigint; key: KeyPair }> {
    const grant: Grant = {
      grant: createId(this.clock),
      session: createHash('sha256').update('session').digest('base64url'),
      person: PERSON,
      service: 'portal',
      host: HOST,
      login: LOGIN,
      commands: commands.map(({ asked, undo }) => ({
        command: asked.command,
        digest: invocationDigest(asked),
        ...(undo === undefined ? {} : { undo: { command: undo.command, digest: invocationDigest(undo) } }),
      })),
      ...options.grant,
    };
    const key = options.key ?? generateKey('ssh-ed25519');
    const seconds = BigInt(Math.floor(this.clock / 1_000));
    const serial = options.fields?.serial ?? this.#serial++;
    const blob = await signUserCertificate(
      {
        publicKey: key.publicKey,
        serial,
        keyId: `beacon/${grant.grant}/${grant.person}`,
        principals: [`${LOGIN}@${HOST}`],
        validAfter: seconds - 60n,
        validBefore: seconds + BigInt(options.lifetimeSeconds ?? 600),
        criticalOptions: {},
        extensions: { 'grant@beacon': formatGrant(grant) },
        ...options.fields,
      },
      createUserCa(createSigner((options.ca ?? this.userCa).privateKey)),
      randomBytes(32),
    );
    return { blob, grant, serial, key };
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
    this.ended = runSession({
      gate,
      admission,
      input: new LineInput(this.#input),
      output: new EventOutput(this.#output),
    });
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

export function lineOf(key: KeyPair): string {
  return formatPublicKeyLine(key.publicKey);
}

async function sign(key: KeyPair, namespace: string, text: string): Promise<string> {
  return formatMessageSignature(
    await signMessage(createSigner(key.privateKey), namespace, Buffer.from(text)),
  );
}
