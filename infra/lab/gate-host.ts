/**
 * A lab host that is managed as DESIGN.md section 6 lays it out: accounts, gate, principals command, login's shell, sudo
 * rule, sshd's drop-in, allowlist and trust documents of a throw-away CA. Done by this file until `beacon host init` does
 * it; the texts are the gate's own.
 */
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatHostIdentity } from '@beacon/protocol/trust';
import { bundleGate, compileGate, GATE_FILES, HOST_RUNTIME } from '../../scripts/bundle-gate.ts';
import type { Lab } from './lab.ts';
import type { LabHost } from './lab-host.ts';
import type { GateTarget, ManagedHost } from './managed-host.ts';
import { lineOf, type PublishOptions, ThrowAwayCa } from './throw-away-ca.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const FILES = join(ROOT, 'packages/gate/files');
export const LOGIN = 'beacon';
/** What `pgrep -f` finds gates by. */
export const GATE_PROCESS = `^${HOST_RUNTIME} /usr/lib/beacon/gate$`;

/** What is done once on a host that has just started. Pool accounts are `beacon-r-1` to `beacon-r-3`. */
const PREPARE = `
install -d -m 755 /usr/lib/beacon /usr/lib/beacon/commands /etc/beacon /etc/beacon/trust /var/lib/beacon-login
install -d -m 700 /var/lib/beacon
system_account() { useradd --system --user-group --no-create-home --home-dir "$2" --shell "$3" "$1"; }
system_account ${LOGIN} /var/lib/beacon-login /usr/lib/beacon/shell
usermod --password '*' ${LOGIN}
system_account beacon-principals /nonexistent /usr/sbin/nologin
system_account beacon-setup /nonexistent /usr/sbin/nologin
for n in 1 2 3; do system_account "beacon-r-$n" /nonexistent /usr/sbin/nologin; done
`;

export class GateHost implements ManagedHost {
  readonly lab: LabHost;
  readonly login = LOGIN;
  readonly runsAs = 'beacon-setup';
  readonly ca: ThrowAwayCa;
  #trustNumber = 0;

  private constructor(lab: LabHost) {
    this.lab = lab;
    this.ca = new ThrowAwayCa({ host: lab.name, login: LOGIN }, () => new Date());
  }

  /** Boots a host and makes it a managed one, whose allowlist is empty; `first` changes its first trust documents. */
  static async boot(lab: Lab, name: string, first: PublishOptions = {}): Promise<GateHost> {
    const runtime = realpathSync(join(ROOT, 'node_modules/node/bin/node'));
    if (!existsSync(runtime)) throw new Error('the pinned node is missing: run scripts/setup');
    const { host } = await lab.boot(name, { binds: { [HOST_RUNTIME]: runtime } });
    const managed = new GateHost(host);
    await host.script(PREPARE);
    await managed.#installPrograms();
    await host.write('/etc/beacon/host.json', managed.#identity());
    await managed.allow({ version: 1, commands: {} });
    await managed.publish(first);
    await managed.#enter();
    return managed;
  }

  get target(): GateTarget {
    return this.lab;
  }

  at(path: string): string {
    return join('/', path);
  }

  /** Replaces the allowlist. */
  async allow(allowlist: object): Promise<void> {
    await this.lab.write('/etc/beacon/allowlist.json', JSON.stringify(allowlist));
  }

  /** A command of the host: a shell script that only root can change. The result is its path. */
  async command(name: string, body: string): Promise<string> {
    const path = `/usr/lib/beacon/commands/${name}`;
    await this.lab.write(path, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    return path;
  }

  /** Signs and installs the next trust documents, as `beacon host sync` does: whole, and by one rename. */
  async publish(changes: PublishOptions = {}): Promise<void> {
    await this.install(await this.ca.publish(changes));
  }

  async install(files: Readonly<Record<string, string | Buffer>>): Promise<void> {
    const folder = `/etc/beacon/trust/${++this.#trustNumber}`;
    await this.lab.run(['mkdir', '-m', '755', folder]);
    for (const [name, content] of Object.entries(files)) await this.lab.write(`${folder}/${name}`, content);
    await this.lab.script(
      `cd /etc/beacon/trust; ln -s ${this.#trustNumber} current.new; mv -T current.new current`,
    );
  }

  /** The lines of the host's record chain. */
  async records(): Promise<string[]> {
    const text = await this.lab.run(['cat', '/var/lib/beacon/records/gate.ndjson']);
    return text.trimEnd().split('\n');
  }

  async certifyHostKey(line: string): Promise<void> {
    const file = '/etc/ssh/ssh_host_ed25519_key-cert.pub';
    await this.lab.write(file, `${line.trimEnd()}\n`);
    await this.lab.write('/etc/ssh/sshd_config.d/05-host-key.conf', `HostCertificate ${file}\n`);
    await this.lab.script('sshd -t; systemctl reload ssh');
  }

  script(text: string): Promise<string> {
    return this.lab.script(text);
  }

  sshdLog(): Promise<string> {
    return this.lab.run(['journalctl', '--unit=ssh', '--output=cat']);
  }

  #identity(): string {
    return formatHostIdentity({ host: this.lab.name, login: LOGIN, rootKey: lineOf(this.ca.rootKey) });
  }

  async #installPrograms(): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), 'beacon-gate-bundle-'));
    try {
      const bundle = join(folder, 'gate');
      await bundleGate(bundle);
      compileGate(bundle);
      for (const suffix of GATE_FILES) {
        await this.lab.copyIn(`${bundle}${suffix}`, `/usr/lib/beacon/gate${suffix}`, { mode: 0o755 });
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    for (const name of ['principals', 'shell']) {
      await this.lab.copyIn(join(FILES, name), `/usr/lib/beacon/${name}`, { mode: 0o755 });
    }
  }

  /** Lets the login in, last: everything that the drop-in names is there. */
  async #enter(): Promise<void> {
    await this.lab.write('/etc/sudoers.d/beacon', readFileSync(join(FILES, 'sudoers')), { mode: 0o440 });
    await this.lab.copyIn(join(FILES, 'sshd_config'), '/etc/ssh/sshd_config.d/10-beacon.conf');
    await this.lab.script('visudo -cq; sshd -t; systemctl reload ssh');
  }
}
