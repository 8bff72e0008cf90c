/** What one would use instead: OpenSSH's client with a ready key or certificate, `pssh`, and `ansible -m raw`. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { formatPrivateKey, type KeyPair } from '@beacon/ssh';
import type { Held } from '../../demo/gate-caller.ts';
import type { GateTarget } from '../../lab/managed-host.ts';

const PSSH = '/usr/bin/parallel-ssh';
const ANSIBLE = '/usr/bin/ansible';

export class PlainSsh {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Writes down how the hosts are found, who vouches for them, and the key that enters the login `plain`. */
  static async prepare(
    folder: string,
    key: KeyPair,
    hosts: readonly GateTarget[],
    authorities: readonly string[],
  ): Promise<PlainSsh> {
    const ssh = new PlainSsh(folder);
    const places = hosts.map(
      ({ name, address }) => `Host ${name}\n HostName ${address}\n HostKeyAlias ${name}\n`,
    );
    const everywhere = [
      ...['IdentitiesOnly yes', 'IdentityAgent none', 'BatchMode yes', 'GlobalKnownHostsFile none'],
      ...[
        `UserKnownHostsFile ${ssh.#at('known_hosts')}`,
        'HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com',
      ],
    ];
    writeFileSync(
      ssh.#at('ssh_config'),
      `${places.join('')}Host *\n${everywhere.map((line) => ` ${line}\n`).join('')}`,
    );
    const known = hosts.flatMap(({ name }) => authorities.map((line) => `@cert-authority ${name} ${line}\n`));
    writeFileSync(ssh.#at('known_hosts'), known.join(''));
    writeFileSync(ssh.#at('plain'), await formatPrivateKey(key.privateKey), { mode: 0o600 });
    return ssh;
  }

  /** A login `plain` on the host, as another would call it. */
  async run(host: string, command: string, more: readonly string[] = []): Promise<void> {
    await promisify(execFile)('ssh', [...this.#words, ...more, `plain@${host}`, command]);
  }

  /** Calls through one connection that is there already, until `close`. */
  async multiplexed(host: string): Promise<{ run: (command: string) => Promise<void>; close: () => void }> {
    const control = this.#at('control');
    const options = ['-o', `ControlPath=${control}`];
    const words = [...this.#words, ...options, '-o', 'ControlMaster=yes', '-N', `plain@${host}`];
    const master = spawn('ssh', words, { stdio: 'ignore' });
    for (let tries = 0; tries < 200 && !existsSync(control); tries++) await delay(50);
    return { run: (command) => this.run(host, command, options), close: () => master.kill() };
  }

  /** Milliseconds from the call until a gate has sent the first of a command's output. */
  async firstByte(host: string, held: Held, lines: readonly string[]): Promise<number> {
    const file = this.#at('ready');
    writeFileSync(file, await formatPrivateKey(held.key.privateKey), { mode: 0o600 });
    writeFileSync(`${file}-cert.pub`, `${held.obtained.line}\n`);
    const begin = performance.now();
    const ssh = spawn('ssh', ['-F', this.#at('ssh_config'), '-i', file, '-T', `beacon@${host}`], {
      stdio: 'pipe',
    });
    ssh.stdin.write(lines.map((line) => `${line}\n`).join(''));
    let said = '';
    const ended = new Promise((resolve) => ssh.once('close', resolve));
    const ms = await new Promise<number>((resolve, reject) => {
      ssh.stdout.on('data', (data: Buffer) => {
        said += data.toString();
        if (said.includes('"event":"stdout"')) resolve(performance.now() - begin);
      });
      ssh.once('close', () => reject(new Error(`plain ssh got no output: ${said}`)));
    });
    await ended;
    return ms;
  }

  /** Milliseconds, or undefined where it is not installed. */
  async pssh(hosts: readonly string[], atOnce: number, command: string): Promise<number | undefined> {
    if (!existsSync(PSSH)) return undefined;
    writeFileSync(this.#at('pssh-hosts'), hosts.map((name) => `plain@${name}\n`).join(''));
    const extra = this.#words.flatMap((word) => ['-X', word]);
    const words = ['-h', this.#at('pssh-hosts'), '-p', String(atOnce), '-t', '60', ...extra, command];
    return duration(spawn(PSSH, words, { stdio: ['ignore', 'pipe', 'pipe'] }));
  }

  /** With its own way to keep connections, which does not help for one command on each host. */
  async ansible(hosts: readonly string[], atOnce: number, command: string): Promise<number | undefined> {
    if (!existsSync(ANSIBLE)) return undefined;
    writeFileSync(this.#at('ansible-hosts'), `[all]\n${hosts.map((name) => `${name}\n`).join('')}`);
    writeFileSync(this.#at('ansible.cfg'), '[defaults]\n');
    const env = {
      PATH: '/usr/bin:/bin',
      HOME: this.#folder,
      LANG: 'C.UTF-8',
      ANSIBLE_CONFIG: this.#at('ansible.cfg'),
      ANSIBLE_LOCAL_TEMP: this.#at('ansible'),
      ANSIBLE_SSH_CONTROL_PATH_DIR: this.#at('cp'),
      ANSIBLE_SSH_ARGS: `${this.#words.join(' ')} -o ControlMaster=auto -o ControlPersist=60s`,
    };
    const words = ['all', '-i', this.#at('ansible-hosts'), '-u', 'plain', '-f', String(atOnce), '-m', 'raw'];
    return duration(spawn(ANSIBLE, [...words, '-a', command], { stdio: ['ignore', 'pipe', 'pipe'], env }));
  }

  get #words(): string[] {
    return ['-F', this.#at('ssh_config'), '-i', this.#at('plain')];
  }

  #at(name: string): string {
    return join(this.#folder, name);
  }
}

async function duration(child: ChildProcess): Promise<number> {
  const begin = performance.now();
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (data: Buffer) => (said += data.toString()));
  const status = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (status !== 0) throw new Error(`${child.spawnfile} ended with ${String(status)}: ${said.slice(-2_000)}`);
  return performance.now() - begin;
}
