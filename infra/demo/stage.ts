/**
 * What the demo and the end-to-end tests stand on: the GitHub stand-in, a CA made by `beacon ca init` and run by
 * `beacon ca serve`, and real sshd on loopback, all in one temporary folder and all taken down at the end. Everything is
 * done through the command line that people use; only the layout of the two sshd is this file's own (DESIGN.md section 6
 * describes the layout that `beacon host init` will make).
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Standin, startStandin } from '@beacon/github-standin';
import { freePort } from './free-port.ts';
import { makeTlsPair } from './tls-pair.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const BEACON = join(ROOT, 'packages', 'cli', 'bin', 'beacon.js');
const CLIENT_ID = 'Iv1.demo0000000000';
export const CLIENT_SECRET = 'demo-client-secret-0123456789abcdef';

/** One person and one address do here in a minute what many do elsewhere: nothing may meet a limit by being quick. */
const LIMITS = 'limits: { per_address: { requests: 1000000 }, per_person: { requests: 1000000 } }\n';

/** What a command left behind. */
export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface DemoHost {
  readonly id: string;
  readonly port: number;
  readonly folder: string;
  /** sshd's own words so far. */
  readonly log: () => string;
}

export class Stage {
  readonly folder: string;
  readonly login = userInfo().username;
  readonly standin: Standin;
  readonly caUrl: string;
  readonly caConfiguration: string;
  readonly hosts: DemoHost[] = [];
  readonly #children: ChildProcess[] = [];
  #server: ChildProcess | undefined;

  /** Who vouches for the CA's own address, where that is not loopback: a file of this one certificate. */
  readonly tlsAuthority: string | undefined;

  private constructor(folder: string, standin: Standin, at: { address: string | undefined; port: number }) {
    this.folder = folder;
    this.standin = standin;
    this.caUrl =
      at.address === undefined ? `http://127.0.0.1:${at.port}` : `https://${at.address}:${at.port}`;
    this.tlsAuthority = at.address === undefined ? undefined : join(folder, 'tls', 'authority.pem');
    this.caConfiguration = join(folder, 'ca', 'ca.yaml');
  }

  /**
   * Stand-in and CA up, nobody logged in yet. `say` is told what happens; `services` is the text of
   * services.yaml; `prepare` may change the CA's folder before it is served; `address` is where the CA listens, with TLS,
   * loopback without it unless given.
   */
  static async open(
    say: (text: string) => void = () => undefined,
    options: {
      readonly services?: string;
      readonly prepare?: (caFolder: string, stage: Stage) => void | Promise<void>;
      readonly address?: string;
    } = {},
  ): Promise<Stage> {
    const folder = mkdtempSync(join(tmpdir(), 'beacon-demo-'));
    const at = { address: options.address, port: await freePort(options.address) };
    const scheme = at.address === undefined ? 'http' : 'https';
    const callback = `${scheme}://${at.address ?? '127.0.0.1'}:${at.port}/sign-in/github/callback`;
    const standin = await startStandin({ configuration: population(callback) });
    const stage = new Stage(folder, standin, at);
    try {
      say(`GitHub stand-in on ${standin.url}`);
      await stage.#makeCa(at, options.services);
      await options.prepare?.(join(folder, 'ca'), stage);
      await stage.serve();
      say(`certificate authority on ${stage.caUrl}, its files in ${join(folder, 'ca')}`);
      return stage;
    } catch (error) {
      await stage.close();
      throw error;
    }
  }

  /** Runs `beacon` as one person, whose files live in a home of their own. */
  beacon(person: string, argv: readonly string[], options: { input?: string } = {}): Promise<Outcome> {
    return this.run(process.execPath, [BEACON, ...argv], { env: this.environment(person), ...options });
  }

  /** Starts `beacon` and answers the process, for what has to be talked to while it runs. */
  start(person: string, argv: readonly string[]): ChildProcess {
    return this.#track(
      spawn(process.execPath, [BEACON, ...argv], {
        env: this.environment(person),
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
  }

  environment(person: string): NodeJS.ProcessEnv {
    const home = join(this.folder, 'home', person);
    mkdirSync(home, { recursive: true, mode: 0o700 });
    const bin = join(ROOT, 'node_modules', '.bin');
    return {
      ...{ PATH: `${bin}:/usr/local/bin:/usr/bin:/bin`, HOME: home, LANG: 'C.UTF-8', NO_COLOR: '1' },
      ...(this.tlsAuthority === undefined ? {} : { NODE_EXTRA_CA_CERTS: this.tlsAuthority }),
    };
  }

  async run(
    file: string,
    argv: readonly string[],
    options: { env?: NodeJS.ProcessEnv; input?: string } = {},
  ): Promise<Outcome> {
    const child = this.#track(spawn(file, argv, { env: options.env ?? process.env, stdio: 'pipe' }));
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (data: Buffer) => (stdout += data.toString()));
    child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.input ?? '');
    const status = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    return { status, stdout, stderr };
  }

  async #makeCa(
    { address, port }: { readonly address: string | undefined; readonly port: number },
    services: string | undefined,
  ): Promise<void> {
    const pair = address === undefined ? undefined : makeTlsPair(join(this.folder, 'tls'), address);
    const ca = join(this.folder, 'ca');
    const made = await this.beacon('operator', [
      ...[
        'ca',
        'init',
        '--dir',
        ca,
        '--public-url',
        this.caUrl,
        '--listen',
        `127.0.0.1:${port}`,
        '--admin',
        'ada',
      ],
      ...[
        '--client-id',
        CLIENT_ID,
        '--github-web-url',
        this.standin.url,
        '--github-api-url',
        this.standin.enterpriseApiUrl,
      ],
    ]);
    if (made.status !== 0) throw new Error(`beacon ca init failed:\n${made.stdout}${made.stderr}`);
    writeFileSync(join(ca, 'keys', 'github_client_secret'), `${CLIENT_SECRET}\n`, { mode: 0o600 });
    appendFileSync(join(ca, 'policy', 'policy.cedar'), demoPolicy(this.login));
    appendFileSync(this.caConfiguration, LIMITS);
    if (services !== undefined) writeFileSync(join(ca, 'services.yaml'), services);
    if (pair !== undefined) {
      const configuration = readFileSync(this.caConfiguration, 'utf8');
      const tls = `tls: { certificate_file: ${pair.certificate}, key_file: ${pair.key} }`;
      const listen = `listen:\n  host: ${address}\n  port: ${port}\n  ${tls}\n`;
      writeFileSync(
        this.caConfiguration,
        configuration.replace(/^listen:\n {2}host: .+\n {2}port: .+\n/m, listen),
      );
    }
  }

  /** The CA's server. */
  get process(): ChildProcess {
    if (this.#server === undefined) throw new Error('the CA does not run');
    return this.#server;
  }

  /** Starts the CA's server and waits until it is ready. */
  async serve(): Promise<ChildProcess> {
    const log = join(this.folder, 'ca.log');
    const child = this.start('operator', ['ca', 'serve', '--config', this.caConfiguration]);
    this.#server = child;
    child.stdout?.on('data', (data: Buffer) => appendFileSync(log, data));
    child.stderr?.on('data', (data: Buffer) => appendFileSync(log, data));
    await until(
      'the CA',
      async () => (await fetch(`${this.caUrl}/readyz`)).status === 200,
      () => {
        if (child.exitCode !== null)
          throw new Error(`the CA ended: ${existsSync(log) ? readFileSync(log, 'utf8') : ''}`);
      },
    );
    return child;
  }

  /** Ends the CA's server in order, and starts it again. */
  async restart(): Promise<void> {
    await this.kill('SIGTERM');
    await this.serve();
  }

  /** Ends the CA's server, at once and in the middle of whatever it does unless another signal is named. */
  async kill(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const ended = new Promise((resolve) => this.#server?.once('exit', resolve));
    this.#server?.kill(signal);
    await ended;
  }

  /** A real sshd that trusts the CA and nothing else, registered at the CA by the administrator. */
  async addHost(id: string, pool: string): Promise<DemoHost> {
    const folder = join(this.folder, id);
    mkdirSync(folder, { mode: 0o755 });
    const port = await freePort();
    const file = (name: string) => join(folder, name);
    must(spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', id, '-f', file('host_key')]));
    const added = await this.beacon('ada', [
      ...['ca', 'host', 'add', id, '--address', `127.0.0.1:${port}`, '--login', this.login],
      ...['--label', 'stage=demo', '--pool', pool, '--host-key', file('host_key.pub'), '--json'],
    ]);
    if (added.status !== 0) throw new Error(`beacon ca host add failed:\n${added.stdout}${added.stderr}`);
    const { certificate } = JSON.parse(added.stdout) as { certificate: string };
    writeFileSync(file('host_key-cert.pub'), `${certificate.trimEnd()}\n`);
    const keys = (await (await fetch(`${this.caUrl}/v1/ca-keys`)).json()) as {
      user: { public_key: string }[];
    };
    writeFileSync(file('user_ca.pub'), `${keys.user.map((key) => key.public_key).join('\n')}\n`);
    writeFileSync(file('principals'), `${this.login}@${id}\n`);
    writeFileSync(file('sshd_config'), sshdConfiguration(folder, port, this.login));
    const host: DemoHost = { id, port, folder, log: () => readLog(file('sshd.log')) };
    await this.fetchKrl(host);
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    this.#track(
      spawn(sshdPath(), ['-D', '-f', file('sshd_config'), '-E', file('sshd.log')], { stdio: 'ignore' }),
    );
    await until(`sshd of ${id}`, async () => host.log().includes('listening'));
    this.hosts.push(host);
    return host;
  }

  /** What a host's timer would do: fetch the revocation list and put it in place at once. */
  async fetchKrl(host: Pick<DemoHost, 'folder'>): Promise<void> {
    const answer = await fetch(`${this.caUrl}/v1/krl`);
    if (answer.status !== 200) throw new Error(`GET /v1/krl answered ${answer.status}`);
    writeFileSync(join(host.folder, 'krl'), Buffer.from(await answer.arrayBuffer()));
  }

  /** Ends all that was started, by its own process id, and removes the folder. */
  async close(): Promise<void> {
    for (const child of this.#children)
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await Promise.all(
      this.#children.map(async (child) => {
        for (let i = 0; i < 100 && child.exitCode === null && child.signalCode === null; i++) await sleep(50);
        if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      }),
    );
    await this.standin.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #track(child: ChildProcess): ChildProcess {
    this.#children.push(child);
    return child;
  }
}

/** Who is at GitHub: Ada administers, Lin is in the team that may log in, Mallory is not. */
function population(callback: string) {
  return {
    apps: [
      { client_id: CLIENT_ID, client_secret: CLIENT_SECRET, callback_urls: [callback], name: 'beacon demo' },
    ],
    persons: [
      { id: 101, login: 'ada' },
      { id: 102, login: 'lin' },
      { id: 103, login: 'mallory' },
    ],
    organizations: [
      {
        id: 7000,
        login: 'example',
        members: ['ada', 'lin', 'mallory'],
        apps: [CLIENT_ID],
        teams: [{ id: 7001, slug: 'web', members: ['lin'] }],
        repositories: [{ id: 7100, name: 'shop', admins: ['lin'] }],
      },
      // Lin may add runners there at GitHub, and no policy of this CA says so.
      {
        id: 7200,
        login: 'other',
        members: ['lin'],
        apps: [CLIENT_ID],
        repositories: [{ id: 7300, name: 'shop', admins: ['lin'] }],
      },
    ],
  };
}

function demoPolicy(login: string): string {
  return `
@id("web-team-logs-in")
@max_lifetime("15m")
@extensions("permit-pty")
permit (
  principal in Team::"github:7001",
  action == Action::"ssh",
  resource in Pool::"web"
) when { context.login == "${login}" };
`;
}

function sshdConfiguration(folder: string, port: number, login: string): string {
  return `ListenAddress 127.0.0.1:${port}
HostKey ${folder}/host_key
HostCertificate ${folder}/host_key-cert.pub
PidFile none
LogLevel VERBOSE
UsePAM no
StrictModes no
AllowUsers ${login}
PermitRootLogin prohibit-password
AuthenticationMethods publickey
AuthorizedKeysFile none
TrustedUserCAKeys ${folder}/user_ca.pub
AuthorizedPrincipalsFile ${folder}/principals
RevokedKeys ${folder}/krl
`;
}

function readLog(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

function sshdPath(): string {
  const found = ['/usr/sbin/sshd', '/usr/local/sbin/sshd', '/usr/bin/sshd'].find((path) => existsSync(path));
  if (found === undefined) throw new Error('sshd is not installed: run ./scripts/setup');
  return found;
}

function must(result: ReturnType<typeof spawnSync>): void {
  if (result.status !== 0) throw new Error(String(result.stderr));
}

/** Waits up to a minute for something that is starting. */
async function until(
  what: string,
  ready: () => Promise<boolean>,
  watch: () => void = () => undefined,
): Promise<void> {
  for (let i = 0; i < 600; i++) {
    watch();
    if (await ready().catch(() => false)) return;
    await sleep(100);
  }
  throw new Error(`${what} did not start within a minute`);
}
