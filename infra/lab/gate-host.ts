/**
 * A managed lab host of a throw-away CA, whose trust documents are put there by hand: right ones, and those that no `sync`
 * would ever put there.
 */
import { formatPublicKeyLine } from '@beacon/ssh';
import { InitHost, LOGIN } from './init-host.ts';
import type { Lab } from './lab.ts';
import type { LabHost } from './lab-host.ts';
import { type PublishOptions, ThrowAwayCa } from './throw-away-ca.ts';

export class GateHost extends InitHost {
  readonly ca: ThrowAwayCa;
  #trustNumber = 0;

  private constructor(lab: LabHost) {
    super(lab);
    this.ca = new ThrowAwayCa({ host: lab.name, login: LOGIN }, () => new Date());
  }

  /** Boots a host and makes it a managed one, whose allowlist is empty unless `words` of `init` say otherwise. */
  static async boot(lab: Lab, name: string, words: readonly string[] = []): Promise<GateHost> {
    const managed = new GateHost(await InitHost.bootWithArchive(lab, name));
    await managed.#layTrust('/root/trust', await managed.ca.publish());
    await managed.lab.write('/root/root.pub', `${formatPublicKeyLine(managed.ca.rootKey.publicKey)}\n`);
    await managed.init(['--root-key', '/root/root.pub', '--trust', '/root/trust', ...words]);
    return managed;
  }

  /** Signs and installs the next trust documents, as `beacon host sync` does: whole, and by one rename. */
  async publish(changes: PublishOptions = {}): Promise<void> {
    await this.install(await this.ca.publish(changes));
  }

  async install(files: Readonly<Record<string, string | Buffer>>): Promise<void> {
    await this.#layTrust(`/etc/beacon/trust/${++this.#trustNumber}`, files);
    await this.lab.script(
      `cd /etc/beacon/trust; ln -s ${this.#trustNumber} current.new; mv -T current.new current`,
    );
  }

  async #layTrust(folder: string, files: Readonly<Record<string, string | Buffer>>): Promise<void> {
    await this.lab.run(['mkdir', '-m', '755', folder]);
    for (const [name, content] of Object.entries(files)) await this.lab.write(`${folder}/${name}`, content);
  }
}
