/**
 * The CA that is measured: a folder made by `beacon ca init`, served by `beacon ca serve` as its systemd unit starts it,
 * GitHub's stand-in beside it, people logged in by the device grant. Eight people are in the five teams that the policies
 * for runs name; one more is in two hundred teams, all of which some policy names.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  appendFileSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  createCaApi,
  discoverCa,
  exportProofKey,
  finishDeviceLogin,
  generateProofKey,
  importProofKey,
  type StoredProofKey,
  startDeviceLogin,
} from '@beacon/client';
import { type Standin, startStandin } from '@beacon/github-standin';
import { generateKey } from '@beacon/ssh/key';
import { formatPublicKeyLine } from '@beacon/ssh/public-key';
import { freePort } from '../../demo/free-port.ts';
import { approve } from '../../demo/login.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const BEACON = join(ROOT, 'packages', 'cli', 'bin', 'beacon.js');
const CLIENT_ID = 'Iv1.bench000000000';
/** Of a second, in what /proc tells of processor time: the same on all of Linux. */
const CLOCK_TICKS = 100;
const ORGANIZATION = 7000;
const FIRST_TEAM = 8001;
const TEAMS_FOR_RUNS = 5;
const TEAMS = 200;

/** What the CA's unit starts the runtime with. */
export const START_FLAGS: readonly string[] = readStartFlags();

/** People in the five teams that policies name for runs. */
export const people = ['p1', 'p2', 'p3', 'p4', 'p5', 'p6', 'p7', 'p8'] as const;
/** The person in two hundred teams. */
export const WIDE = 'wide';
export const hosts = [
  'web-01',
  'web-02',
  'web-03',
  'web-04',
  'web-05',
  'web-06',
  'web-07',
  'web-08',
] as const;

/** Somebody who is logged in: what requests are made with. It can be sent to another process. */
export interface Login {
  readonly accessToken: string;
  readonly key: StoredProofKey;
}

export class ServedCa {
  readonly folder: string;
  readonly url: string;
  readonly configuration: string;
  readonly storeFile: string;
  readonly #standin: Standin;
  #process: ChildProcess | undefined;

  private constructor(folder: string, standin: Standin, port: number) {
    this.folder = folder;
    this.url = `http://127.0.0.1:${port}`;
    this.configuration = join(folder, 'ca', 'ca.yaml');
    this.storeFile = join(folder, 'ca', 'data', 'ca.db');
    this.#standin = standin;
  }

  /** Makes a CA with its hosts and serves it. */
  static async start(): Promise<ServedCa> {
    const folder = mkdtempSync(join(tmpdir(), 'beacon-bench-ca-'));
    const port = await freePort();
    const callback = `http://127.0.0.1:${port}/sign-in/github/callback`;
    const standin = await startStandin({ configuration: population(callback) });
    const ca = new ServedCa(folder, standin, port);
    try {
      await ca.#make();
      await ca.serve();
      await ca.#addHosts();
      return ca;
    } catch (error) {
      await ca.remove();
      throw error;
    }
  }

  async #make(): Promise<void> {
    const ca = join(this.folder, 'ca');
    const github = [
      '--github-web-url',
      this.#standin.url,
      '--github-api-url',
      this.#standin.enterpriseApiUrl,
    ];
    const place = ['--dir', ca, '--public-url', this.url, '--listen', new URL(this.url).host];
    await promisify(execFile)(process.execPath, [
      BEACON,
      'ca',
      'init',
      ...place,
      '--admin',
      'ada',
      '--client-id',
      CLIENT_ID,
      ...github,
    ]);
    writeFileSync(join(ca, 'keys', 'github_client_secret'), 'bench-client-secret-0123456789abcdef\n', {
      mode: 0o600,
    });
    appendFileSync(this.configuration, limits);
    writeFileSync(join(ca, 'inventory.yaml'), inventory);
    appendFileSync(join(ca, 'policy', 'policy.cedar'), policy());
  }

  /** Starts `beacon ca serve` with the unit's flags, its log in a file, and waits until it is ready; once is enough. */
  async serve(): Promise<void> {
    if (this.#process !== undefined) return;
    const log = join(this.folder, 'ca.log');
    const output = openSync(log, 'a');
    const child = spawn(
      process.execPath,
      [...START_FLAGS, BEACON, 'ca', 'serve', '--config', this.configuration],
      { stdio: ['ignore', output, output], env: { PATH: process.env['PATH'], NODE_ENV: 'production' } },
    );
    this.#process = child;
    for (let tries = 0; tries < 600; tries++) {
      if (child.exitCode !== null) throw new Error(`the CA ended: ${readFileSync(log, 'utf8').slice(-2000)}`);
      const ready = await fetch(`${this.url}/readyz`).then(
        ({ status }) => status === 200,
        () => false,
      );
      if (ready) return;
      await sleep(100);
    }
    throw new Error('the CA was not ready within 60 s');
  }

  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  }

  /** Resident memory of the CA's process in MiB, now and at its highest. */
  memory(): { readonly now: number; readonly highest: number } {
    const status = readFileSync(`/proc/${this.#process?.pid ?? 'self'}/status`, 'utf8');
    const mebibytes = (name: string) =>
      Math.round(Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) / 1024);
    return { now: mebibytes('VmRSS'), highest: mebibytes('VmHWM') };
  }

  /** How many files and connections the CA's process has open. */
  openFiles(): number {
    return readdirSync(`/proc/${this.#process?.pid ?? 'self'}/fd`).length;
  }

  /** Processor time that the CA's process has taken, in seconds, over all its threads. */
  cpuSeconds(): number {
    const stat = readFileSync(`/proc/${this.#process?.pid ?? 'self'}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS;
  }

  /** Logs a person in as `beacon login` does; the token is good for ten minutes. */
  async login(person: string): Promise<Login> {
    const proofKey = generateProofKey();
    const metadata = await discoverCa(this.url);
    const client = { metadata, clientId: 'beacon-cli', proofKey, resources: ['urn:beacon:ca'] };
    const started = await startDeviceLogin(client);
    await approve(this.url, person, started.userCode);
    const { accessToken } = await finishDeviceLogin(client, { ...started, intervalMs: 0 });
    return { accessToken, key: exportProofKey(proofKey) };
  }

  async logins(names: readonly string[]): Promise<Login[]> {
    const all: Login[] = [];
    for (const name of names) all.push(await this.login(name));
    return all;
  }

  async #addHosts(): Promise<void> {
    const { accessToken, key } = await this.login('ada');
    const api = createCaApi({
      issuer: this.url,
      proofKey: importProofKey(key),
      accessToken: () => Promise.resolve(accessToken),
    });
    for (const id of hosts) {
      await api.registerHost({
        id,
        address: `${id}.example`,
        port: 22,
        logins: ['beacon', 'deploy'],
        labels: { stage: 'bench' },
        pools: ['web'],
        host_key: formatPublicKeyLine(generateKey('ssh-ed25519').publicKey),
      });
    }
  }

  async remove(): Promise<void> {
    await this.stop();
    await this.#standin.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What a load generator is allowed; people are not. */
const limits = `
limits:
  per_address: { requests: 1000000, per_seconds: 10 }
  per_person: { requests: 1000000, per_seconds: 10 }
`;

const inventory = `version: 1
commands:
  runner.install:
    undo: runner.remove
    params:
      name: { pattern: "[a-z0-9][a-z0-9-]{0,62}" }
      version: { pattern: "[0-9]+[.][0-9]+[.][0-9]+" }
  runner.remove:
    params:
      name: { pattern: "[a-z0-9][a-z0-9-]{0,62}" }
  disk.check:
    params: {}
`;

const team = (number: number) => `Team::"github:${FIRST_TEAM + number}"`;

/** Five permits for runs, one of them with a condition on parameters, and a permit that names all two hundred teams. */
function policy(): string {
  const forRuns = Array.from(
    { length: TEAMS_FOR_RUNS },
    (_, number) => `
@id("team-${number}-runs") @max_lifetime("30m")
permit (principal in ${team(number)}, action in [Action::"runner.install", Action::"runner.remove"], resource in Pool::"web")
when { context.login == "beacon"${number === 0 ? ' && context.params.name like "runner-*"' : ''} };
@id("team-${number}-logs-in") @max_lifetime("15m") @extensions("permit-pty")
permit (principal in ${team(number)}, action == Action::"ssh", resource in Pool::"web")
when { context.login == "deploy" };
`,
  );
  const all = Array.from({ length: TEAMS }, (_, number) => team(number)).join(', ');
  return `${forRuns.join('')}
@id("all-teams-look")
permit (principal, action == Action::"disk.check", resource) when { principal in [${all}] };
`;
}

function population(callback: string) {
  const teams = Array.from({ length: TEAMS }, (_, number) => ({
    id: FIRST_TEAM + number,
    slug: `team-${number}`,
    members: number < TEAMS_FOR_RUNS ? [...people, WIDE] : [WIDE],
  }));
  const names = ['ada', WIDE, ...people];
  return {
    apps: [
      {
        client_id: CLIENT_ID,
        client_secret: 'bench-client-secret-0123456789abcdef',
        callback_urls: [callback],
        name: 'beacon bench',
      },
    ],
    persons: names.map((login, index) => ({ id: 101 + index, login })),
    organizations: [{ id: ORGANIZATION, login: 'example', members: names, apps: [CLIENT_ID], teams }],
  };
}

function readStartFlags(): string[] {
  const unit = readFileSync(join(ROOT, 'infra', 'systemd', 'beacon-ca.service'), 'utf8');
  const [, flags] = /^ExecStart=\S+ ((?:--\S+ )*)\S+beacon\.js /m.exec(unit) ?? [];
  if (flags === undefined) throw new Error('beacon-ca.service has no ExecStart that starts beacon.js');
  return flags.split(' ').filter((flag) => flag !== '');
}
