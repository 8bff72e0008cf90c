/**
 * An image of a machine with the archive for hosts and trust documents, made before the tests of a file and removed after
 * them: what the tests of `beacon host init|check|remove` on images stand on. sshd, sudo and the programs for accounts are
 * the image's own.
 */
import {
  checkHost,
  type InitRequest,
  initHost,
  type Machine,
  openMachine,
  type Prepared,
  prepareHost,
  removeHost,
} from '@beacon/host';
import { afterAll, beforeAll, describe } from '@jest/globals';
import { HostImage, listTree, treeDifferences } from '../lab/host-image.ts';
import { whyNoLab } from '../lab/possible.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`images of hosts are left out: ${why}\n`);

/** Where images can be made; elsewhere its tests are left out. */
export const describeImages = why === undefined ? describe : describe.skip;

export const silent = { report: () => undefined };

export class ImageUnderTest {
  readonly image: HostImage;
  readonly machine: Machine;
  readonly request: InitRequest;
  /** What lay in /etc before anything was done. */
  pristine: Map<string, string>;

  private constructor(image: HostImage, request: InitRequest) {
    this.image = image;
    this.machine = openMachine(image.root);
    this.request = request;
    this.pristine = this.tree();
  }

  static async make(): Promise<ImageUnderTest> {
    const image = await HostImage.make('build-01');
    await image.buildArchive();
    const wish = {
      host: 'build-01',
      login: 'beacon',
      rootKey: image.rootKey,
      pools: new Map([['beacon-r', 2]]),
      ca: undefined,
    };
    const trust = await image.publish();
    return new ImageUnderTest(image, { wish, from: image.archive, trust, now: new Date() });
  }

  at(path: string): string {
    return this.image.at(path);
  }

  /** All of /etc. */
  tree(): Map<string, string> {
    return listTree(this.image.at('etc'));
  }

  /** What is otherwise in /etc than before anything was done. */
  differences(): string[] {
    return treeDifferences(this.pristine, this.tree());
  }

  prepare(changes: Partial<InitRequest> = {}): Prepared {
    return prepareHost(this.machine, { ...this.request, now: new Date(), ...changes });
  }

  init(): Promise<void> {
    return initHost(this.machine, this.prepare(), silent);
  }

  check(now = new Date()): ReturnType<typeof checkHost> {
    return checkHost(this.machine, now);
  }

  remove(): Promise<void> {
    return removeHost(this.machine, { purge: true, ...silent });
  }
}

/** The image of a file's tests: made before the first and removed after the last. */
export function useImage(): () => ImageUnderTest {
  let made: ImageUnderTest | undefined;
  beforeAll(async () => {
    made = await ImageUnderTest.make();
  }, 120_000);
  afterAll(() => made?.image.close());
  return () => {
    if (made === undefined) throw new Error('the image is not there before the first test');
    return made;
  };
}
