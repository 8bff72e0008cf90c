/** The root key hands over: a host follows from the key that it pinned, and nobody else leads it anywhere. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { generateKey } from '@beacon/ssh';
import { fingerprint } from '@beacon/ssh/public-key';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { lineOf } from '../../../infra/lab/throw-away-ca.ts';
import { meetCa } from '../src/first-contact.ts';
import { readTrustFolder, verifyTrust } from '../src/index.ts';
import { NAMES, ServedCa, signed, signHandover } from './served-ca.ts';

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write('installing trust is left out: it needs root\n');

(isRoot ? describe : describe.skip)('a handover of the root key', () => {
  const [second, third, thief] = [0, 1, 2].map(() => generateKey('ssh-ed25519')) as [Key, Key, Key];
  type Key = ReturnType<typeof generateKey>;
  let served: ServedCa;

  beforeEach(async () => {
    served = await ServedCa.open();
  });
  afterEach(() => served.close());

  const root = (version: number) => ({ root: { version }, status: { rootVersion: version } });
  const handOver = (version: number, from: Key, to: Key) =>
    served.serve({ ...root(version), signRootWith: to }, from);
  const refusesWith = async (code: string): Promise<void> => {
    const before = served.inForce();
    await expect(served.sync()).rejects.toMatchObject({ code });
    expect(served.inForce()).toBe(before);
    expect(() => served.requireWhole()).not.toThrow();
  };
  const reverse = () => readTrustFolder(join(served.folder, 'etc/beacon/trust/current'));

  test('is followed, stays followed, and the key before is good for nothing more', async () => {
    await handOver(2, served.ca.rootKey, second);
    expect(await served.sync()).toMatchObject({ version: '2-2', changed: true });
    expect(await served.sync()).toMatchObject({ version: '2-2', changed: false });
    await served.serve({ ...root(3), signRootWith: second });
    expect(await served.sync()).toMatchObject({ version: '3-3', changed: true });
    await served.serve(root(4));
    await refusesWith('trust-refused');
  });

  test('is followed by a host that was away, over the roots in between, and once more', async () => {
    await served.serve(root(2));
    await handOver(3, served.ca.rootKey, second);
    await served.serve({ ...root(4), signRootWith: second });
    await handOver(5, second, third);
    served.asked = [];
    expect(await served.sync()).toMatchObject({ version: '5-5', changed: true });
    expect(served.asked.filter((path) => path.includes('/roots/'))).toEqual(
      [2, 3, 4].map((version) => `/v1/trust/roots/${version} 200`),
    );
    expect(verifyTrust(reverse(), { ...NAMES, rootKey: served.rootKey }).rootKeys).toEqual(
      [served.ca.rootKey, second, third].map(lineOf),
    );
  });

  test('B8: a root that skips a version is refused: missing, or another in its place', async () => {
    await served.serve(root(2));
    await handOver(3, served.ca.rootKey, second);
    const { '/v1/trust/roots/2': between } = served.bodies;
    delete served.bodies['/v1/trust/roots/2'];
    await refusesWith('answer-malformed');
    served.bodies['/v1/trust/roots/2'] = served.bodies['/v1/trust/roots/3'] ?? Buffer.alloc(0);
    await refusesWith('trust-refused');
    served.bodies['/v1/trust/roots/2'] = between ?? Buffer.alloc(0);
    expect(await served.sync()).toMatchObject({ version: '3-3' });
  });

  test('B8: a root that the new key alone has signed is refused', async () => {
    await served.serve({ ...root(2), signRootWith: second });
    await refusesWith('trust-refused');
    // Nor does the new key's own word for itself help, or that of somebody else.
    for (const by of [second, thief]) {
      await served.serve({ ...root(2), signRootWith: second }, by);
      await refusesWith('trust-refused');
    }
  });

  test('B8: a handover that the old key signed for another key or another root is refused', async () => {
    const files = await served.ca.publish({ ...root(2), signRootWith: thief });
    const [document, signature] = [String(files['root.json']), String(files['root.json.sig'])];
    const other = String((await served.ca.publish({ ...root(3), signRootWith: thief }))['root.json']);
    for (const handover of [
      await signHandover(served.ca.rootKey, lineOf(second), document),
      await signHandover(served.ca.rootKey, lineOf(thief), other),
    ]) {
      served.bodies['/v1/trust/root'] = signed(document, signature, handover);
      await refusesWith('trust-refused');
    }
  });

  test('B8: a handover by the old key without the new one’s signature is refused', async () => {
    await served.serve({ ...root(2), signRootWith: thief }, served.ca.rootKey);
    const answer = JSON.parse(String(served.bodies['/v1/trust/root']));
    const signature = String((await served.ca.publish({ ...root(9), signRootWith: thief }))['root.json.sig']);
    served.bodies['/v1/trust/root'] = signed(answer.document, signature, answer.handover);
    await refusesWith('trust-refused');
  });

  test('B8, B11: who stole the old key cannot hand over once more, though documents and note be deleted', async () => {
    await handOver(2, served.ca.rootKey, second);
    await served.sync();
    const right = { ...served.bodies };
    await handOver(7, served.ca.rootKey, thief);
    await refusesWith('answer-malformed');
    for (const version of [2, 3, 4, 5, 6])
      await served.serve({ ...root(version), signRootWith: served.ca.rootKey });
    await handOver(7, served.ca.rootKey, thief);
    await refusesWith('trust-refused');
    rmSync(join(served.folder, 'etc/beacon/trust/current'));
    await expect(served.sync()).rejects.toMatchObject({ code: 'trust-went-back' });
    expect(existsSync(join(served.folder, 'etc/beacon/trust/current'))).toBe(false);
    served.bodies = right;
    expect(await served.sync()).toMatchObject({ version: '2-2', changed: true });
  });

  test('a way that is too long, or that no version limits, is not gone', async () => {
    await served.serve({ ...root(Number.MAX_SAFE_INTEGER), signRootWith: thief });
    served.asked = [];
    await refusesWith('trust-refused');
    expect(served.asked.filter((path) => path.includes('/roots/'))).toEqual([]);
  });

  test('a second init on a host that has followed goes on from the key that it pinned', async () => {
    await handOver(2, served.ca.rootKey, second);
    const outside = { fetch, now: () => served.now, timeoutMs: 5_000 };
    const [first, now] = [served.ca.rootKey, second].map((key) => fingerprint(key.publicKey)) as [
      string,
      string,
    ];
    await expect(meetCa(outside, served.url, first)).rejects.toMatchObject({ code: 'root-key-differs' });
    const { trust } = await served.sync();
    for (const pinned of [first, now]) {
      const { rootKey, files } = await meetCa(outside, served.url, pinned, trust);
      expect(rootKey).toBe(served.rootKey);
      expect(() => verifyTrust(files, { ...NAMES, rootKey })).not.toThrow();
    }
    const strange = fingerprint(thief.publicKey);
    await expect(meetCa(outside, served.url, strange, trust)).rejects.toMatchObject({
      code: 'root-key-differs',
    });
  });

  test('B6: a key that hands over to itself, or back, is refused', async () => {
    await handOver(2, served.ca.rootKey, second);
    await served.sync();
    await handOver(3, second, served.ca.rootKey);
    await refusesWith('trust-refused');
  });
});
