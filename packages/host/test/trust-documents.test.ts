import { generateKey } from '@beacon/ssh';
import { expect, test } from '@jest/globals';
import { lineOf, type PublishOptions, ThrowAwayCa } from '../../../infra/lab/throw-away-ca.ts';
import { requireFresh, requireNotOlder, verifyTrust } from '../src/index.ts';
import type { TrustFile, TrustFiles } from '../src/trust-documents.ts';

const NOW = new Date('2026-11-22T12:00:00.000Z');
const names = { host: 'build-01', login: 'beacon' };
const ca = new ThrowAwayCa(names, () => NOW);
const identity = { ...names, rootKey: lineOf(ca.rootKey) };

async function publish(changes: PublishOptions = {}): Promise<TrustFiles> {
  const files = await ca.publish(changes);
  return Object.fromEntries(
    Object.entries(files).map(([name, content]) => [name, Buffer.from(content)]),
  ) as unknown as TrustFiles;
}
const verified = async (changes: PublishOptions = {}) => verifyTrust(await publish(changes), identity);
const refusal = (code: string) => expect.objectContaining({ code });

test('takes what the pinned key and the status key have signed', async () => {
  const { root, status } = await verified({ revoked: [5n] });
  expect([root.version, status.rootVersion]).toEqual([1, 1]);
});

test('B7, B12: refuses each document cut at any length, with a byte more, or with any byte changed', async () => {
  const good = await publish();
  const tried = { refused: 0 };
  for (const name of ['root.json', 'root.json.sig', 'status.json', 'status.json.sig', 'krl'] as TrustFile[]) {
    const bytes = good[name];
    // What follows an armoured signature's last line may be one newline or none.
    const end = name.endsWith('.sig') ? bytes.length - 1 : bytes.length;
    const others = [
      ...Array.from({ length: end }, (_, at) => bytes.subarray(0, at)),
      Buffer.concat([bytes, Buffer.from('x')]),
    ];
    for (let at = 0; at < bytes.length; at += 7) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 0x01;
      others.push(changed);
    }
    for (const other of others) {
      expect(() => verifyTrust({ ...good, [name]: other }, identity)).toThrow(refusal('trust-refused'));
      tried.refused++;
    }
  }
  expect(tried.refused).toBeGreaterThan(1_000);
});

test.each([
  ['B6: a root signed by another key', { signRootWith: generateKey('ssh-ed25519') }],
  ['B6: a status signed by another key', { signStatusWith: generateKey('ssh-ed25519') }],
  ['B6: a status signed by the root key', { signStatusWith: ca.rootKey }],
  ['B5: a status of another root', { status: { rootVersion: 2 } }],
  ['a root for other hosts', { root: { hosts: 'web-[0-9]+' } }],
  ['a root for other logins', { root: { logins: ['other'] } }],
  ['a root without a user CA', { root: { userCa: [] } }],
])('refuses %s', async (_name, changes) => {
  const files = await publish(changes);
  expect(() => verifyTrust(files, identity)).toThrow(refusal('trust-refused'));
});

test('B5: refuses a revocation list of other documents', async () => {
  const [older, newer] = [await publish({ revoked: [5n] }), await publish({ revoked: [5n, 7n] })];
  expect(() => verifyTrust({ ...newer, krl: older.krl }, identity)).toThrow(refusal('trust-refused'));
});

test('B7: refuses a document that is longer than any may be before it reads it', async () => {
  const files = await publish();
  expect(() => verifyTrust({ ...files, 'root.json': Buffer.alloc(70_000, '{') }, identity)).toThrow(
    refusal('trust-refused'),
  );
});

test('B1, K4: refuses an older root, and an older status of the same root', async () => {
  const older = await verified();
  const newer = await verified();
  expect(() => requireNotOlder(newer, older)).toThrow(refusal('trust-went-back'));
  expect(() => requireNotOlder(older, newer)).not.toThrow();
  expect(() => requireNotOlder(newer, newer)).not.toThrow();
  const next = await verified({ root: { version: 2 }, status: { rootVersion: 2 } });
  expect(() => requireNotOlder(next, newer)).toThrow(refusal('trust-went-back'));
});

test('B2: refuses another document of the same version', async () => {
  const one = await verified({ status: { version: 900 } });
  const other = await verified({ status: { version: 900 }, revoked: [5n] });
  expect(() => requireNotOlder(one, other)).toThrow(refusal('trust-went-back'));
  const root = await verified({ root: { hosts: 'build-[0-9]+' }, status: { version: 901 } });
  expect(() => requireNotOlder(one, root)).toThrow(refusal('trust-went-back'));
});

test('B4: a new root begins the versions of the status anew, whatever a thief drove them up to', async () => {
  const driven = await verified({ status: { version: Number.MAX_SAFE_INTEGER } });
  const recovered = await verified({ root: { version: 2 }, status: { rootVersion: 2, version: 1 } });
  expect(() => requireNotOlder(driven, recovered)).not.toThrow();
});

test('B3: refuses what has expired, and what was issued when the clock has not yet been', async () => {
  const trust = await verified();
  const at = (ms: number) => () => requireFresh(trust, new Date(NOW.getTime() + ms));
  expect(at(0)).not.toThrow();
  expect(at(-60_000)).not.toThrow();
  expect(at(86_400_000 - 1)).not.toThrow();
  expect(at(86_400_000)).toThrow(refusal('trust-stale'));
  expect(at(-60_001)).toThrow(refusal('clock-wrong'));
});
