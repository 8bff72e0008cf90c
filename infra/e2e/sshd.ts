/**
 * A real sshd on a loopback port, that trusts nothing but the CA keys it is given, and OpenSSH's ssh against it. Each
 * has its own host id and admits the person who runs the tests as `<login>@<host id>`. It ends by its process id.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  createHostCa,
  formatCertificateLine,
  formatPrivateKey,
  formatPublicKeyLine,
  generateKey,
  type PublicKey,
  type Signer,
  signHostCertificate,
} from '@beacon/ssh';
import { freePort } from '../demo/free-port.ts';

const SSHD = '/usr/sbin/sshd';

/** The Unix account that the tests log in as: the one that runs them, root or not. */
export const LOGIN = userInfo().username;

/** What sshd says at the end of a connection, however it ends. */
const LAST_LINE =
  /(Disconnected from|Connection (closed|reset) by|Received disconnect from) .*port \d+|fatal: /;

export interface LoginAttempt {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What sshd wrote meanwhile. */
  readonly log: string;
}

export interface LoginOptions {
  /** The text of a private key file. */
  readonly privateKey: string;
  readonly certificate: Buffer;
  readonly command?: string;
  /** The host id that the host certificate must name; that of the sshd when left out. */
  readonly expectedHost?: string;
}

export interface SshdOptions {
  /** Lines that go before all others, and so win. */
  readonly configuration?: readonly string[];
  /** What stands before the principal in its file. */
  readonly principalOptions?: string;
  /** When the host's certificate is valid, in seconds from now; none when undefined is given. */
  readonly hostCertificate?: { readonly from: number; readonly until: number } | undefined;
  /** A plain key that is let in. */
  readonly authorizedKey?: PublicKey;
}

export class Sshd {
  readonly hostId: string;
  readonly port: number;
  readonly #directory: string;
  /** The host's own certificate. */
  readonly hostCertificate: Buffer;
  /** The host's own key, one line. */
  readonly hostKeyLine: string;
  readonly #hostCaLine: string;
  readonly #child: ChildProcess;
  #log = '';
  #attempts = 0;

  private constructor(
    hostId: string,
    directory: string,
    port: number,
    hostCaLine: string,
    child: ChildProcess,
    hostCertificate: Buffer,
    hostKeyLine: string,
  ) {
    this.hostId = hostId;
    this.#directory = directory;
    this.port = port;
    this.hostCertificate = hostCertificate;
    this.hostKeyLine = hostKeyLine;
    this.#hostCaLine = hostCaLine;
    this.#child = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#log += text;
    });
  }

  static async start(
    hostId: string,
    hostCa: Signer,
    userCas: readonly PublicKey[],
    options: SshdOptions = {},
  ): Promise<Sshd> {
    const validity = 'hostCertificate' in options ? options.hostCertificate : { from: -60, until: 3600 };
    if (!existsSync(SSHD)) throw new Error(`${SSHD} is missing: install the package openssh-server`);
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    const directory = mkdtempSync(join(tmpdir(), 'beacon-sshd-'));
    const place = (name: string): string => join(directory, name);
    const { privateKey, publicKey } = generateKey('ssh-ed25519');
    const now = BigInt(Math.floor(Date.now() / 1000));
    const certificate = await signHostCertificate(
      {
        publicKey,
        serial: 1n,
        keyId: `beacon/host/${hostId}`,
        principals: [hostId],
        validAfter: now + BigInt(validity?.from ?? -60),
        validBefore: now + BigInt(validity?.until ?? 3600),
      },
      createHostCa(hostCa),
      Buffer.alloc(32, 1),
    );
    writeFileSync(place('host_key'), await formatPrivateKey(privateKey), { mode: 0o600 });
    writeFileSync(place('host_key-cert.pub'), `${formatCertificateLine(certificate)}\n`);
    writeFileSync(place('user_ca.pub'), userCas.map((key) => `${formatPublicKeyLine(key)}\n`).join(''));
    writeFileSync(place('principals'), `${options.principalOptions ?? ''} ${LOGIN}@${hostId}\n`.trimStart());
    const { authorizedKey } = options;
    const authorizedKeys = authorizedKey === undefined ? 'none' : place('authorized_keys');
    if (authorizedKey !== undefined) writeFileSync(authorizedKeys, `${formatPublicKeyLine(authorizedKey)}\n`);
    const port = await freePort();
    const config = [
      ...(options.configuration ?? []),
      `ListenAddress 127.0.0.1:${port}`,
      `HostKey ${place('host_key')}`,
      ...(validity === undefined ? [] : [`HostCertificate ${place('host_key-cert.pub')}`]),
      `TrustedUserCAKeys ${place('user_ca.pub')}`,
      `AuthorizedPrincipalsFile ${place('principals')}`,
      `AuthorizedKeysFile ${authorizedKeys}`,
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'PermitRootLogin prohibit-password',
      'UsePAM no',
      // The folder of temporary files is everybody's.
      'StrictModes no',
      'PidFile none',
      'LogLevel VERBOSE',
    ];
    writeFileSync(place('sshd_config'), `${[...config, 'PerSourcePenalties no'].join('\n')}\n`);
    // Before 9.8 there were no penalties to switch off.
    if (spawnSync(SSHD, ['-t', '-f', place('sshd_config')]).status !== 0) {
      writeFileSync(place('sshd_config'), `${config.join('\n')}\n`);
    }
    const child = spawn(SSHD, ['-D', '-e', '-f', place('sshd_config')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const sshd = new Sshd(
      hostId,
      directory,
      port,
      formatPublicKeyLine(hostCa.publicKey),
      child,
      certificate,
      formatPublicKeyLine(publicKey),
    );
    await sshd.#untilListening();
    return sshd;
  }

  /** Runs OpenSSH's ssh with the key and the certificate and nothing of the machine's own configuration. */
  async login({
    privateKey,
    certificate,
    command = 'echo it-ran',
    expectedHost = this.hostId,
  }: LoginOptions): Promise<LoginAttempt> {
    this.#attempts += 1;
    const place = (name: string): string => join(this.#directory, `${this.#attempts}-${name}`);
    writeFileSync(place('key'), privateKey, { mode: 0o600 });
    writeFileSync(place('key-cert.pub'), `${formatCertificateLine(certificate)}\n`);
    writeFileSync(place('known_hosts'), `@cert-authority ${expectedHost} ${this.#hostCaLine}\n`);
    const options = [
      'BatchMode=yes',
      'IdentitiesOnly=yes',
      'IdentityAgent=none',
      `CertificateFile=${place('key-cert.pub')}`,
      `UserKnownHostsFile=${place('known_hosts')}`,
      'GlobalKnownHostsFile=none',
      'StrictHostKeyChecking=yes',
      `HostKeyAlias=${expectedHost}`,
      'HostKeyAlgorithms=ssh-ed25519-cert-v01@openssh.com',
    ].flatMap((option) => ['-o', option]);
    const from = this.#log.length;
    const target = ['-p', String(this.port), `${LOGIN}@127.0.0.1`];
    const attempt = await run('ssh', ['-F', 'none', '-i', place('key'), ...options, ...target, command]);
    // sshd's last line about a connection may come after ssh has ended.
    for (let tries = 0; tries < 400 && !LAST_LINE.test(this.#log.slice(from)); tries++) await delay(50);
    return { ...attempt, log: this.#log.slice(from) };
  }

  /** What sshd has said so far. */
  get log(): string {
    return this.#log;
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGTERM');
    await ended;
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #untilListening(): Promise<void> {
    for (let attempt = 0; attempt < 1_000; attempt += 1) {
      if (await isListening(this.port)) return;
      if (this.#child.exitCode !== null) break;
      await delay(50);
    }
    throw new Error(`sshd did not start: ${this.#log}`);
  }
}

function run(program: string, arguments_: readonly string[]): Promise<Omit<LoginAttempt, 'log'>> {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      arguments_,
      { encoding: 'utf8', timeout: 30_000 },
      (_, stdout, stderr) => {
        resolve({ status: child.exitCode, stdout, stderr });
      },
    );
    child.stdin?.end();
  });
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
