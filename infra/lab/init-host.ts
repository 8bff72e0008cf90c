/**
 * A lab host made a managed one as operators do it: the archive for hosts, and `beacon host init` with words of the caller's.
 * Its archive is built once for a lab, and goes with it.
 */
import { join } from 'node:path';
import { buildHost } from '../../scripts/build-host.ts';
import { HOST_RUNTIME } from '../../scripts/bundle-gate.ts';
import type { Lab } from './lab.ts';
import type { LabHost } from './lab-host.ts';
import type { GateTarget, ManagedHost } from './managed-host.ts';

export const LOGIN = 'beacon';
/** What `pgrep -f` finds gates by. */
export const GATE_PROCESS = `^${HOST_RUNTIME} /usr/lib/beacon/gate$`;
const ARCHIVE = '/opt/beacon-host';

/** By the folders of labs. */
const archives = new Map<string, Promise<string>>();

export class InitHost implements ManagedHost {
  readonly lab: LabHost;
  readonly login = LOGIN;
  readonly runsAs = 'beacon-setup';

  protected constructor(lab: LabHost) {
    this.lab = lab;
  }

  /** Boots a host, which finds the archive in its place and is not a managed one yet. */
  static async start(lab: Lab, name: string): Promise<InitHost> {
    return new InitHost(await InitHost.bootWithArchive(lab, name));
  }

  protected static async bootWithArchive(lab: Lab, name: string): Promise<LabHost> {
    const archive = archives.get(lab.folder) ?? makeArchive(lab);
    archives.set(lab.folder, archive);
    return (await lab.boot(name, { binds: { [ARCHIVE]: await archive } })).host;
  }

  /** Makes it a managed host; answers what `init` says. Pool accounts are `beacon-r-1` and so on. */
  init(words: readonly string[], accounts = 3): Promise<string> {
    const id = ['--id', this.lab.name, '--accounts', `beacon-r=${accounts}`];
    return this.lab.run([`${ARCHIVE}/beacon`, 'host', 'init', ...id, ...words]);
  }

  get target(): GateTarget {
    return this.lab;
  }

  at(path: string): string {
    return join('/', path);
  }

  async allow(allowlist: object): Promise<void> {
    await this.lab.write('/etc/beacon/allowlist.json', JSON.stringify(allowlist));
  }

  async command(name: string, body: string): Promise<string> {
    const path = `/usr/lib/beacon/commands/${name}`;
    await this.lab.write(path, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    return path;
  }

  async records(): Promise<string[]> {
    const text = await this.lab.run(['cat', '/var/lib/beacon/records/gate.ndjson']);
    return text.trimEnd().split('\n');
  }

  script(text: string): Promise<string> {
    return this.lab.script(text);
  }

  sshdLog(): Promise<string> {
    return this.lab.run(['journalctl', '--unit=ssh', '--output=cat']);
  }
}

async function makeArchive({ folder }: Lab): Promise<string> {
  const archive = join(folder, 'archive');
  await buildHost(archive);
  return archive;
}
