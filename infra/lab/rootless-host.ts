/**
 * One managed host without root: an sshd of one's own on loopback, which lets in nobody but oneself, with the gate's own
 * texts turned to one folder. Commands run as whoever started it and nothing but time is bounded, so its gate says NOT FOR
 * PRODUCTION in every `hello`. For demos and tests where there is no lab.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { formatHostIdentity } from '@beacon/protocol/trust';
import { bundleGate, compileGate } from '../../scripts/bundle-gate.ts';
import { freePort } from '../demo/free-port.ts';
import type { GateTarget, ManagedHost } from './managed-host.ts';
import { runProgram } from './system-command.ts';
import { lineOf, type PublishOptions, ThrowAwayCa } from './throw-away-ca.ts';

const FILES = join(import.meta.dirname, '..', '..', 'packages/gate/files');
const SSHD = ['/usr/sbin/sshd', '/usr/local/sbin/sshd', '/usr/bin/sshd'];
/** sshd starts its forced command by the login's own shell, so it has to be one. */
const SHELLS = /\/(ba|da|z|k|a)?sh$/;

/** Why there can be no rootless host either; undefined when there can. */
export function whyNoRootlessHost(): string | undefined {
  if (process.getuid?.() === 0) return 'root uses the lab';
  if (!SSHD.some((path) => existsSync(path))) return 'there is no sshd: run scripts/setup as root';
  const { shell } = userInfo();
  return shell !== null && SHELLS.test(shell) ? undefined : `this login has no shell (${shell})`;
}

export class RootlessHost implements ManagedHost {
  readonly target: GateTarget;
  readonly login = userInfo().username;
  readonly runsAs = userInfo().username;
  readonly ca: ThrowAwayCa;
  readonly #folder: string;
  readonly #port: number;
  #sshd: ChildProcess | undefined;
  #trustNumber = 0;

  private constructor(name: string, folder: string, port: number) {
    this.#folder = folder;
    this.#port = port;
    this.ca = new ThrowAwayCa({ host: name, login: this.login }, () => new Date());
    const hostKey = readFileSync(join(folder, 'host_key.pub'), 'utf8').trimEnd();
    this.target = { name, address: '127.0.0.1', port, hostKey };
  }

  /** Starts it, with an empty allowlist and trust documents of its own CA or as `first` changes them. */
  static async start(name: string, first: PublishOptions = {}): Promise<RootlessHost> {
    const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-rootless-'));
    const key = ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', join(folder, 'host_key')];
    if (spawnSync('ssh-keygen', key).status !== 0) throw new Error('ssh-keygen made no host key');
    const host = new RootlessHost(name, folder, await freePort());
    await host.#layOut();
    await host.publish(first);
    await host.#serve('');
    return host;
  }

  at(path: string): string {
    return join(this.#folder, path);
  }

  async allow(allowlist: object): Promise<void> {
    this.#write('etc/beacon/allowlist.json', JSON.stringify(allowlist));
  }

  async command(name: string, body: string): Promise<string> {
    return this.#write(`commands/${name}`, `#!/bin/sh\n${body}\n`, 0o755);
  }

  async publish(changes: PublishOptions = {}): Promise<void> {
    const version = `etc/beacon/trust/${++this.#trustNumber}`;
    mkdirSync(this.at(version));
    for (const [name, content] of Object.entries(await this.ca.publish(changes))) {
      this.#write(`${version}/${name}`, content);
    }
    symlinkSync(String(this.#trustNumber), this.at('etc/beacon/trust/current.new'));
    renameSync(this.at('etc/beacon/trust/current.new'), this.at('etc/beacon/trust/current'));
  }

  async certifyHostKey(line: string): Promise<void> {
    await this.#stop();
    const file = this.#write('host_key-cert.pub', `${line.trimEnd()}\n`);
    await this.#serve(`HostCertificate ${file}\n`);
  }

  async records(): Promise<string[]> {
    return readFileSync(this.at('var/lib/beacon/records/gate.ndjson'), 'utf8').trimEnd().split('\n');
  }

  async script(text: string): Promise<string> {
    const { status, stdout, stderr } = await runProgram(['/bin/sh', '-eu', '-s'], { input: text });
    if (status !== 0) throw new Error(`a script ended with ${status ?? 'a signal'}: ${stderr}`);
    return stdout;
  }

  async sshdLog(): Promise<string> {
    return existsSync(this.at('sshd.log')) ? readFileSync(this.at('sshd.log'), 'utf8') : '';
  }

  /** Ends its sshd and removes the folder. */
  async close(): Promise<void> {
    await this.#stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #layOut(): Promise<void> {
    for (const folder of ['etc/beacon/trust', 'var/lib/beacon', 'run/beacon', 'commands']) {
      mkdirSync(this.at(folder), { recursive: true, mode: 0o755 });
    }
    await bundleGate(this.at('gate'), process.execPath);
    compileGate(this.at('gate'));
    const { name: host } = this.target;
    this.#write(
      'etc/beacon/host.json',
      formatHostIdentity({ host, login: this.login, rootKey: lineOf(this.ca.rootKey) }),
    );
    await this.allow({ version: 1, commands: {} });
    const gate = `exec /usr/bin/env -i BEACON_CERTIFICATE=%s ${this.at('gate')} --rootless ${this.#folder}`;
    const principals = readFileSync(join(FILES, 'principals'), 'utf8')
      .replaceAll('/etc/beacon', this.at('etc/beacon'))
      .replace('beacon-gate %s', gate);
    this.#write('principals', principals, 0o755);
  }

  async #serve(more: string): Promise<void> {
    const log = this.at('sshd.log');
    rmSync(log, { force: true });
    this.#write('sshd_config', `${this.#configuration()}${more}${this.#dropIn()}`);
    const path = SSHD.find((one) => existsSync(one)) ?? 'sshd';
    this.#sshd = spawn(path, ['-D', '-f', this.at('sshd_config'), '-E', log], { stdio: 'ignore' });
    for (let tries = 0; tries < 1_000; tries++) {
      if ((await this.sshdLog()).includes('listening')) return;
      await delay(50);
    }
    throw new Error(`sshd did not start: ${await this.sshdLog()}`);
  }

  #configuration(): string {
    return `ListenAddress 127.0.0.1:${this.#port}
HostKey ${this.at('host_key')}
PidFile none
UsePAM no
StrictModes no
LogLevel VERBOSE
AllowUsers ${this.login}
`;
  }

  /** The gate's own drop-in. sshd wants root's programs for its commands, and a shell is one. */
  #dropIn(): string {
    return readFileSync(join(FILES, 'sshd_config'), 'utf8')
      .replace('Match User beacon', `Match User ${this.login}`)
      .replaceAll('/etc/beacon', this.at('etc/beacon'))
      .replace('/usr/lib/beacon/principals', `/bin/sh ${this.at('principals')}`)
      .replace('beacon-principals', this.login);
  }

  async #stop(): Promise<void> {
    const sshd = this.#sshd;
    if (sshd === undefined || sshd.exitCode !== null || sshd.signalCode !== null) return;
    const ended = new Promise((resolve) => sshd.on('exit', resolve));
    sshd.kill('SIGTERM');
    await ended;
  }

  #write(path: string, content: string | Buffer, mode = 0o644): string {
    const file = this.at(path);
    writeFileSync(file, content, { mode });
    chmodSync(file, mode);
    return file;
  }
}
