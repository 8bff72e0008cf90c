/**
 * The CA that is killed: made by `beacon ca init` in a temporary folder, run by the real `beacon ca serve` as a process of
 * its own, with a stand-in for GitHub behind it. Its keys cost one round of passphrase, so that a start takes no half a
 * second for them; all else is as people run it.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Standin, startStandin } from '@beacon/github-standin';
import type { DatabaseOptions } from '@beacon/server';
import { makeKeysCheap } from '../../packages/ca/test/cheap-keys.ts';
import { freePort } from '../demo/free-port.ts';

const BEACON = join(import.meta.dirname, '..', '..', 'packages', 'cli', 'bin', 'beacon.js');
const CLIENT_ID = 'Iv1.crash000000000';
const CLIENT_SECRET = 'crash-client-secret-0123456789abcdef';
const START_MS = 60_000;

/** Who is at GitHub; ada administers. */
export const PERSONS = { ada: 101, lin: 102, kim: 103, sam: 104 } as const;
export type PersonName = keyof typeof PERSONS;

const POLICY = `
@id("everybody-logs-in") @max_lifetime("1h")
permit (principal, action == Action::"ssh", resource in Pool::"web");
`;

export class Victim {
  readonly folder: string;
  readonly standin: Standin;
  readonly url: string;
  readonly configuration: string;
  /** Where the store is; SQLite unless a URL was given. */
  readonly store: DatabaseOptions;
  #child: ChildProcess | undefined;
  #log = '';

  private constructor(folder: string, standin: Standin, port: number, postgresUrl: string | undefined) {
    this.folder = folder;
    this.standin = standin;
    this.url = `http://127.0.0.1:${port}`;
    this.configuration = join(folder, 'ca', 'ca.yaml');
    this.store =
      postgresUrl === undefined ? { file: join(folder, 'ca', 'data', 'ca.db') } : { url: postgresUrl };
  }

  /** Makes the CA; it does not run yet. */
  static async make(options: { readonly postgresUrl?: string } = {}): Promise<Victim> {
    const folder = mkdtempSync(join(tmpdir(), 'beacon-crash-'));
    const victim = new Victim(folder, await startStandin(), await freePort(), options.postgresUrl);
    try {
      victim.#populate();
      victim.#init(options.postgresUrl);
      return victim;
    } catch (error) {
      await victim.close();
      throw error;
    }
  }

  #populate(): void {
    const { state } = this.standin;
    state.addApp({
      clientId: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      callbackUrls: [`${this.url}/sign-in/github/callback`],
    });
    for (const [login, id] of Object.entries(PERSONS)) state.addPerson({ login, id });
  }

  #init(postgresUrl: string | undefined): void {
    const ca = join(this.folder, 'ca');
    // The administrator is written by number: GitHub's stand-in lives in this process, which waits for the command.
    execFileSync(
      process.execPath,
      [
        ...[BEACON, 'ca', 'init', '--dir', ca, '--public-url', this.url, '--listen', new URL(this.url).host],
        ...['--client-id', CLIENT_ID, '--github-web-url', this.standin.url],
        ...['--github-api-url', this.standin.enterpriseApiUrl],
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    const at = (name: string) => join(ca, name);
    const secret = { mode: 0o600 };
    writeFileSync(at('keys/github_client_secret'), CLIENT_SECRET, secret);
    makeKeysCheap(ca);
    appendFileSync(
      at('policy/policy.cedar'),
      `${POLICY}
@id("ada-administers")
permit (
  principal == Person::"github:${PERSONS.ada}",
  action in [Action::"ca.hosts", Action::"ca.persons", Action::"ca.revoke", Action::"ca.records"],
  resource
);
`,
    );
    const many = '{ requests: 1000000 }';
    appendFileSync(this.configuration, `limits: { per_address: ${many}, per_person: ${many} }\n`);
    if (postgresUrl === undefined) return;
    writeFileSync(at('keys/postgres_url'), postgresUrl, secret);
    const text = readFileSync(this.configuration, 'utf8');
    writeFileSync(
      this.configuration,
      text.replace(/^store:.*$/m, 'store: { postgres_url_file: keys/postgres_url }'),
    );
  }

  /** Starts the server, with what its environment has besides; it is not ready yet. */
  spawn(environment: Readonly<Record<string, string>> = {}): void {
    this.#log = '';
    const child = spawn(process.execPath, [BEACON, 'ca', 'serve', '--config', this.configuration], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: process.env['PATH'], ...environment },
    });
    child.stderr?.on('data', (data: Buffer) => (this.#log = (this.#log + data.toString()).slice(-20_000)));
    this.#child = child;
  }

  /** Resolves when the server answers that it is ready. Throws with its last words when it ends, or takes a minute. */
  async ready(): Promise<void> {
    for (const end = Date.now() + START_MS; Date.now() < end; await sleep(20)) {
      if (!this.isAlive) throw new Error(`the CA does not start on its store:\n${this.#log}`);
      const answer = await fetch(`${this.url}/readyz`).catch(() => undefined);
      await answer?.arrayBuffer().catch(() => undefined);
      if (answer?.status === 200) return;
    }
    throw new Error(`the CA is not ready after a minute:\n${this.#log}`);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isAlive(): boolean {
    const child = this.#child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** Asks the server to stop, as a service manager does. */
  askToStop(): void {
    this.#child?.kill('SIGTERM');
  }

  /** Kills the server; false when it had ended by itself. */
  async kill(): Promise<boolean> {
    this.#child?.kill('SIGKILL');
    await this.#ended();
    return this.#child?.signalCode === 'SIGKILL';
  }

  /** Stops the server in order. Throws when it does not end well. */
  async stop(): Promise<void> {
    this.askToStop();
    await this.#ended();
    if (this.#child?.exitCode !== 0) throw new Error(`the CA did not stop in order:\n${this.#log}`);
  }

  async #ended(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.isAlive) return;
    await new Promise((resolve) => child.once('exit', resolve));
  }

  /** Ends what was started; removes the folder unless it is to be kept. */
  async close(keep = false): Promise<void> {
    if (this.isAlive) await this.kill();
    await this.standin.close();
    if (!keep) rmSync(this.folder, { recursive: true, force: true });
  }
}
