/**
 * The image of a machine below a folder, for `beacon host … --root`: a freshly installed system as the lab's hosts have,
 * which is not started. With the archive for hosts and trust documents that may be changed.
 */
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildHost } from '../../scripts/build-host.ts';
import { makeRoot } from './root-folder.ts';
import { requireProgram } from './system-command.ts';
import { lineOf, type PublishOptions, ThrowAwayCa } from './throw-away-ca.ts';

export class HostImage {
  readonly folder: string;
  readonly root: string;
  readonly ca: ThrowAwayCa;

  private constructor(folder: string, root: string, name: string) {
    this.folder = folder;
    this.root = root;
    this.ca = new ThrowAwayCa({ host: name, login: 'beacon' }, () => new Date());
  }

  /** A folder of its own below that of temporary files; `close` unmounts and removes it. */
  static async make(name: string): Promise<HostImage> {
    const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-host-image-'));
    const { root } = await makeRoot(folder, name, '192.0.2.10');
    return new HostImage(folder, root, name);
  }

  /** The archive for hosts, unpacked. */
  get archive(): string {
    return join(this.folder, 'archive');
  }

  /** Its runtime is a small script that starts the one below /opt: what is copied and hashed again and again stays small. */
  async buildArchive(): Promise<void> {
    await buildHost(this.archive);
    mkdirSync(this.at('/opt/runtime'));
    copyFileSync(join(this.archive, 'node'), this.at('/opt/runtime/node'));
    rmSync(join(this.archive, 'node'));
    // Outside of the image, where the gate is compiled, it is the one below the image's /opt.
    const text = `#!/bin/sh\n[ -x /opt/runtime/node ] || exec ${this.at('/opt/runtime/node')} "$@"\nexec /opt/runtime/node "$@"\n`;
    writeFileSync(join(this.archive, 'node'), text, { mode: 0o755 });
  }

  at(path: string): string {
    return join(this.root, path);
  }

  /** Signs the next trust documents and lays them into a folder. */
  async publish(changes: PublishOptions = {}): Promise<string> {
    const folder = mkdtempSync(join(this.folder, 'trust-'));
    for (const [name, content] of Object.entries(await this.ca.publish(changes))) {
      if (name !== 'user_ca.pub') writeFileSync(join(folder, name), content);
    }
    return folder;
  }

  get rootKey(): string {
    return lineOf(this.ca.rootKey);
  }

  async close(): Promise<void> {
    await requireProgram(['umount', '--lazy', this.root]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Every file, folder and link below `folder`: kind, mode, owner and bytes. Where each is, and what it is, in a line. */
export function listTree(folder: string, below = ''): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of readdirSync(join(folder, below))) {
    const path = join(below, name);
    const stats = lstatSync(join(folder, path));
    const owner = `${(stats.mode & 0o7777).toString(8)} ${stats.uid}:${stats.gid}`;
    if (stats.isDirectory()) {
      found.set(path, `folder ${owner}`);
      for (const [inner, what] of listTree(folder, path)) found.set(inner, what);
    } else if (stats.isSymbolicLink()) found.set(path, `link ${readlinkSync(join(folder, path))}`);
    else if (stats.isFile()) {
      const digest = createHash('sha256')
        .update(readFileSync(join(folder, path)))
        .digest('hex');
      found.set(path, `file ${owner} ${digest}`);
    } else found.set(path, 'other');
  }
  return found;
}

/** What differs between two lists: a path, and what it is in each. */
export function treeDifferences(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): string[] {
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((path) => before.get(path) !== after.get(path))
    .map((path) => `${path}: ${before.get(path) ?? 'nothing'} → ${after.get(path) ?? 'nothing'}`);
}
