/**
 * A lab: real hosts on one machine, each with its own systemd, sshd, sudo, root folder and network, made of kernel
 * namespaces by `systemd-nspawn`. Needs root and no container engine; everything it makes is found again by the lab's
 * folder alone. The hosts are for tests: they hold back accidents, not an attacker who is root in one.
 */
import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { groupsNamed, makeGroups, removeGroups } from './control-groups.ts';
import { firstProcess, type HostForm } from './first-process.ts';
import { killHost } from './host-processes.ts';
import { LabHost } from './lab-host.ts';
import {
  addressOf,
  closeNetwork,
  connectedHosts,
  connectHost,
  disconnectHost,
  namespaceOf,
  namespacePath,
  openNetwork,
} from './network.ts';
import { makeRoot } from './root-folder.ts';
import { runProgram, SYSTEM_PATH } from './system-command.ts';

const HOST_NAME = /^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$/;
const MAX_HOSTS = 240;
const TEMPORARY = /^beacon-lab-of-(\d+)-/;
/** Where systemd-nspawn keeps a folder for each machine, and forgets it when it is killed. */
const PROPAGATION = '/run/systemd/nspawn/propagate';

/** Where `scripts/lab` keeps its hosts. */
export const DEFAULT_FOLDER = join(realpathSync(tmpdir()), 'beacon-lab');

export interface BootOptions {
  /** Default `whole`; `light` has neither systemd nor limits. */
  readonly form?: HostForm;
  /** Folders and files of this machine that the host sees, read-only: where it sees them, and where they are. */
  readonly binds?: Readonly<Record<string, string>>;
}

export interface BootedHost {
  readonly host: LabHost;
  /** Why systemd calls the host degraded; empty when it does not. */
  readonly degraded: string;
}

/** What is written down about a host. */
interface HostRecord {
  readonly index: number;
  readonly form: HostForm;
  readonly address: string;
}

export class Lab {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** The lab of a folder, which is made when it is not there. Throws when the folder is somebody else's. */
  static open(folder: string): Lab {
    mkdirSync(join(folder), { recursive: true, mode: 0o700 });
    const status = lstatSync(folder);
    if (!status.isDirectory() || status.uid !== process.getuid?.() || (status.mode & 0o022) !== 0)
      throw new Error(`${folder} is not a folder of this account alone: remove it, or name another`);
    mkdirSync(join(folder, 'hosts'), { recursive: true, mode: 0o700 });
    return new Lab(realpathSync(folder));
  }

  /**
   * A lab of its own for a test, in a new folder of temporary files that goes with it. What a test that was killed left
   * behind goes first.
   */
  static async temporary(): Promise<Lab> {
    const parent = realpathSync(tmpdir());
    for (const name of readdirSync(parent)) {
      const [, pid] = TEMPORARY.exec(name) ?? [];
      if (pid !== undefined && !existsSync(`/proc/${pid}`)) await Lab.open(join(parent, name)).down();
    }
    return Lab.open(mkdtempSync(join(parent, `beacon-lab-of-${process.pid}-`)));
  }

  /** This machine's own address among the hosts. */
  async address(): Promise<string> {
    return `${(await openNetwork(this.folder)).prefix}.1`;
  }

  hosts(): LabHost[] {
    return readdirSync(join(this.folder, 'hosts'))
      .sort()
      .filter((name) => existsSync(this.#recordOf(name)))
      .map((name) => this.#host(name));
  }

  /** A host by its name; undefined when the lab has none of it. */
  host(name: string): LabHost | undefined {
    return this.hosts().find((one) => one.name === name);
  }

  /** Starts a host and waits until it has started. One that runs is answered as it is; one that ended is made anew. */
  async boot(name: string, options: BootOptions = {}): Promise<BootedHost> {
    if (!HOST_NAME.test(name))
      throw new Error(`${name} is no name for a host: small letters, digits, dashes`);
    const present = this.host(name);
    if (present?.running === true) return { host: present, degraded: await present.untilStarted() };
    await this.stop(name);
    const network = await openNetwork(this.folder);
    const form = options.form ?? 'whole';
    const index = this.#takeIndex(name, form, network.prefix);
    const address = addressOf(network, index);
    await connectHost(this.folder, network, name, index);
    await makeRoot(this.#folderOf(name), name, address);
    this.#start(name, form, options.binds ?? {});
    const host = this.#host(name);
    return { host, degraded: await host.untilStarted() };
  }

  /** Ends a host at once and removes all of it, whatever state it is in. */
  async stop(name: string): Promise<void> {
    const folder = this.#folderOf(name);
    const namespace = namespaceOf(this.folder, name);
    await killHost(namespacePath(this.folder, name), folder);
    await removeGroups(namespace);
    await disconnectHost(this.folder, name);
    rmSync(join(PROPAGATION, namespace), { recursive: true, force: true });
    if (!existsSync(folder)) return;
    for (const mount of mountsBelow(folder)) await runProgram(['umount', mount]);
    const left = mountsBelow(folder);
    if (left.length > 0) throw new Error(`${left.join(', ')} is in use: end what uses it, then try again`);
    rmSync(folder, { recursive: true });
  }

  /** Ends all hosts and removes everything that the lab made, also what an interrupted run left behind. */
  async down(): Promise<void> {
    const prefix = namespaceOf(this.folder, '');
    const names = [
      ...(existsSync(this.folder) ? readdirSync(join(this.folder, 'hosts')) : []),
      ...connectedHosts(this.folder),
      ...groupsNamed(prefix).map((name) => name.slice(prefix.length)),
    ];
    for (const name of new Set(names)) await this.stop(name);
    await closeNetwork(this.folder);
    rmSync(this.folder, { recursive: true, force: true });
  }

  #folderOf(name: string): string {
    return join(this.folder, 'hosts', name);
  }

  #recordOf(name: string): string {
    return join(this.#folderOf(name), 'host.json');
  }

  #host(name: string): LabHost {
    const { address, form } = this.#readRecord(name);
    const place = { name, address, form, folder: this.#folderOf(name) };
    return new LabHost({ ...place, namespacePath: namespacePath(this.folder, name) });
  }

  #readRecord(name: string): HostRecord {
    return JSON.parse(readFileSync(this.#recordOf(name), 'utf8')) as HostRecord;
  }

  /** The lowest number that no other host has, written down in the same breath. */
  #takeIndex(name: string, form: HostForm, prefix: string): number {
    const taken = new Set(this.hosts().map((host) => this.#readRecord(host.name).index));
    let index = 0;
    while (taken.has(index)) index += 1;
    if (index >= MAX_HOSTS) throw new Error(`a lab has at most ${MAX_HOSTS} hosts: stop some`);
    mkdirSync(this.#folderOf(name), { mode: 0o700 });
    writeFileSync(
      this.#recordOf(name),
      JSON.stringify({ index, form, address: addressOf({ prefix }, index) } satisfies HostRecord),
    );
    return index;
  }

  #start(name: string, form: HostForm, binds: Readonly<Record<string, string>>): void {
    const folder = this.#folderOf(name);
    const machine = namespaceOf(this.folder, name);
    const place = { folder, name, machine, namespacePath: namespacePath(this.folder, name) };
    const [program = '', ...words] = firstProcess(form, { ...place, groups: makeGroups(machine), binds });
    const console = openSync(join(folder, 'console.log'), 'w', 0o600);
    spawn(program, words, {
      detached: true,
      stdio: ['ignore', console, console],
      env: { PATH: SYSTEM_PATH },
    }).unref();
    closeSync(console);
  }
}

/** Mount points at or below a folder, the deepest first. */
function mountsBelow(folder: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((place) => place.startsWith(`${folder}/`))
    .reverse();
}
