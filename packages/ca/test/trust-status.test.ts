import { createHash } from 'node:crypto';
import { parseTrustStatus, TRUST_STATUS_NAMESPACE } from '@beacon/protocol/trust';
import { ServerError } from '@beacon/server';
import { decodeKrl, type Krl } from '@beacon/ssh/krl';
import { hasSerial } from '@beacon/ssh/krl-serials';
import { isSameKey } from '@beacon/ssh/public-key';
import { verifyMessage } from '@beacon/ssh/sshsig';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { engines } from '../../server/test/postgres.ts';
import { createTrustStatus } from '../src/trust-status.ts';
import { newSigner } from './small-ca.ts';
import { draw, publish, startTrustLab, type TrustLab } from './trust-lab.ts';

const HOUR_MS = 3_600_000;

const isRevokedSerial = (list: Krl, serial: bigint) =>
  list.authorities.some(({ serials }) => hasSerial(serials, serial));

describe.each(engines)('the trust status on $engine', ({ place }) => {
  let lab: TrustLab;
  beforeAll(async () => {
    lab = await startTrustLab({ place: await place() });
    expect((await publish(lab)).status).toBe(201);
  });
  afterAll(() => lab.ca.close());

  /** What a host would do: fetch, verify, compare the list. */
  async function fetchStatus() {
    const shown = await lab.ca.send('GET', '/v1/trust/status');
    expect(shown.status).toBe(200);
    const message = Buffer.from(shown.body['document']);
    const signature = shown.body['signature'] as string;
    const signer = verifyMessage({ signature, namespace: TRUST_STATUS_NAMESPACE, message });
    expect(isSameKey(signer, lab.status.publicKey)).toBe(true);
    const status = parseTrustStatus(message);
    const list = Buffer.from(await (await fetch(`${lab.ca.url}/v1/krl`)).arrayBuffer());
    expect(status.krl).toEqual({
      sha256: createHash('sha256').update(list).digest('hex'),
      bytes: list.length,
    });
    return { ...status, etag: shown.headers.get('etag') ?? '', list: decodeKrl(list) };
  }

  async function revokeOne(halt = false): Promise<{ serial: bigint; grant: string }> {
    const { body } = await lab.ca.sign(lab.ada, { login: 'deploy' });
    const asked = { v: 1, by: 'serial', value: body['serial'], reason: 'x', halt };
    expect((await lab.ca.ask(lab.ada, 'POST', '/v1/revocations', asked)).status).toBe(200);
    return { serial: BigInt(body['serial']), grant: body['grant'] };
  }

  test('names the root, the list and a day, and stays the same while nothing changes', async () => {
    const first = await fetchStatus();
    expect(first).toMatchObject({ rootVersion: 1, halt: [] });
    expect(first.expires.getTime() - first.issued.getTime()).toBe(24 * HOUR_MS);
    const again = await lab.ca.send('GET', '/v1/trust/status', undefined, { 'if-none-match': first.etag });
    expect(again.status).toBe(304);
  });

  test('K8: B5: is signed anew at once when something is taken back, with the list that holds it', async () => {
    const before = await fetchStatus();
    const { serial } = await revokeOne();
    const after = await fetchStatus();
    expect(after.version).toBe(before.version + 1);
    expect(isRevokedSerial(after.list, serial)).toBe(true);
    const known = await lab.ca.send('GET', '/v1/trust/status', undefined, { 'if-none-match': before.etag });
    expect(known.status).toBe(200);
  });

  test('names a grant whose undo must not run', async () => {
    const { grant } = await revokeOne(true);
    expect((await fetchStatus()).halt).toEqual([grant]);
  });

  test('names a new root as soon as it is published', async () => {
    const before = await fetchStatus();
    expect((await publish(lab, draw(lab, { version: 2 }))).status).toBe(201);
    expect(await fetchStatus()).toMatchObject({ rootVersion: 2, version: before.version + 1 });
  });

  test('B1: its version rises across a restart', async () => {
    const before = await fetchStatus();
    await lab.ca.restart();
    expect((await fetchStatus()).version).toBe(before.version);
    await revokeOne();
    expect((await fetchStatus()).version).toBe(before.version + 1);
  });

  test('B2: two that share the store never sign two of one version', async () => {
    const { ca } = lab.ca.running;
    const signers = [createTrustStatus(ca), createTrustStatus(ca)];
    for (let round = 0; round < 5; round += 1) {
      await revokeOne();
      const seen = await Promise.all([...signers, ...signers].map((signer) => signer.current()));
      expect(new Set(seen.map((status) => status?.document)).size).toBe(1);
      expect(new Set(seen.map((status) => status?.krl.toString('hex'))).size).toBe(1);
    }
  });

  test('B5: a process whose key the root does not name signs none in the place of what hosts believe', async () => {
    const { ca } = lab.ca.running;
    const trust = { root: lab.root.publicKey, status: newSigner() };
    const other = createTrustStatus({ ...ca, store: ca.store, now: lab.ca.clock.now, trust });
    const before = await fetchStatus();
    const { serial } = await revokeOne();
    expect(await other.current()).toMatchObject({ version: before.version });
    const after = await fetchStatus();
    expect(after.version).toBe(before.version + 1);
    expect(isRevokedSerial(after.list, serial)).toBe(true);
    expect(await other.current()).toMatchObject({ version: after.version });
  });

  test('many who ask at once get one that holds what was taken back before they asked', async () => {
    const asking = Array.from({ length: 20 }, () => lab.ca.send('GET', '/v1/trust/status'));
    const { serial } = await revokeOne();
    await Promise.all(asking);
    expect(isRevokedSerial((await fetchStatus()).list, serial)).toBe(true);
  });

  test('B3: is signed anew before it ages, and keeps its version below the hour', async () => {
    const before = await fetchStatus();
    lab.ca.clock.offsetMs += HOUR_MS / 2;
    expect((await fetchStatus()).version).toBe(before.version);
    lab.ca.clock.offsetMs += HOUR_MS / 2 + 1000;
    const after = await fetchStatus();
    expect(after.version).toBe(before.version + 1);
    expect(after.issued.getTime()).toBeGreaterThan(before.issued.getTime());
    lab.ca.clock.offsetMs += 2 * HOUR_MS;
    await lab.ca.running.maintain();
    const { version } = (await fetchStatus()) as { version: number };
    expect(version).toBe(after.version + 1);
  });
});

test('a status that has only aged is handed out while the store takes no writes', async () => {
  const lab = await startTrustLab({ hosts: false });
  await publish(lab);
  const before = await lab.ca.send('GET', '/v1/trust/status');
  lab.ca.clock.offsetMs += 2 * HOUR_MS;
  const { ca } = lab.ca.running;
  const { store } = ca;
  const failing = createTrustStatus({
    ...ca,
    store,
    now: lab.ca.clock.now,
    commit: {
      ...ca.commit,
      write: () => Promise.reject(new ServerError('storage', 'full')),
    },
  });
  const kept = await failing.current().catch((error: unknown) => error);
  expect(kept).toMatchObject({ document: before.body['document'] });
  await lab.ca.close();
});
