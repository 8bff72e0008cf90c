/**
 * A real ssh-agent on a socket of its own, with keys from files or from a PKCS#11 module, and a software token (SoftHSM2)
 * for the latter. Each ends by its process id.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const PIN = '648219';
const SOFTHSM = ['/usr/lib/softhsm/libsofthsm2.so', '/usr/lib64/softhsm/libsofthsm2.so'];

export class RealAgent {
  readonly socket: string;
  readonly #environment: NodeJS.ProcessEnv;
  #child: ChildProcess | undefined;

  /** `folder` is one that only the test uses; `environment` is added to what the agent sees. */
  constructor(folder: string, environment: NodeJS.ProcessEnv = {}) {
    this.socket = join(folder, 'agent.sock');
    this.#environment = { PATH: process.env['PATH'], ...environment };
  }

  async start(): Promise<void> {
    const child = spawn('ssh-agent', ['-D', '-a', this.socket], {
      env: this.#environment,
      stdio: 'ignore',
    });
    this.#child = child;
    for (let attempt = 0; attempt < 200; attempt += 1) {
      if (await answers(this.socket)) return;
      await delay(25);
    }
    throw new Error('ssh-agent did not start');
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  }

  addFile(file: string): void {
    this.#run('ssh-add', ['-q', file]);
  }

  /** Adds what a token holds; the PIN goes by an askpass program, as it would on a server. */
  addToken(token: SoftToken): void {
    const askpass = `${this.socket}.askpass`;
    writeFileSync(askpass, `#!/bin/sh\necho ${PIN}\n`, { mode: 0o700 });
    this.#run('ssh-add', ['-s', token.module], {
      SSH_ASKPASS: askpass,
      SSH_ASKPASS_REQUIRE: 'force',
      DISPLAY: ':0',
    });
  }

  /** The lines of `ssh-add -L`. */
  publicKeys(): string[] {
    return this.#run('ssh-add', ['-L']).trimEnd().split('\n');
  }

  #run(file: string, argv: readonly string[], more: NodeJS.ProcessEnv = {}): string {
    return execFileSync(file, argv, {
      encoding: 'utf8',
      env: { ...this.#environment, SSH_AUTH_SOCK: this.socket, ...more },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }
}

/** A token in software, with keys that were born in it. */
export class SoftToken {
  readonly module: string;
  /** What every process that uses the token must see. */
  readonly environment: NodeJS.ProcessEnv;

  constructor(folder: string) {
    const module = SOFTHSM.find((file) => existsSync(file));
    if (module === undefined) throw new Error('SoftHSM2 is not installed: run ./scripts/setup');
    this.module = module;
    const tokens = join(folder, 'tokens');
    mkdirSync(tokens, { mode: 0o700 });
    const configuration = join(folder, 'softhsm2.conf');
    writeFileSync(
      configuration,
      `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
    );
    this.environment = { SOFTHSM2_CONF: configuration };
    this.#run('softhsm2-util', [
      '--init-token',
      '--free',
      '--label',
      'beacon',
      '--so-pin',
      PIN,
      '--pin',
      PIN,
    ]);
  }

  /** `EC:prime256v1` or `rsa:3072`; the id is two hexadecimal digits. */
  generate(type: string, id: string, label: string): void {
    const key = ['--keypairgen', '--key-type', type, '--id', id, '--label', label];
    this.#run('pkcs11-tool', ['--module', this.module, '--login', '--pin', PIN, '--usage-sign', ...key]);
  }

  #run(file: string, argv: readonly string[]): void {
    execFileSync(file, argv, { env: { PATH: process.env['PATH'], ...this.environment }, stdio: 'pipe' });
  }
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.once('error', () => resolve(false));
  });
}
