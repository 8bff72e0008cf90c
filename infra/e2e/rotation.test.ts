/**
 * Another key of the user CA and of the host CA, with three hosts that fetch their trust from the real CA by the code of
 * `beacon host sync`: in order, and when a key was stolen. After each step everybody who is right is let in, by every host
 * that has what it had then. The same with real sshds, for the user CA, is in `walkthrough.test.ts`.
 */
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openMachine } from '@beacon/host';
import { formatCertificateLine, parseCertificateLine } from '@beacon/ssh/certificate';
import { isRevoked } from '@beacon/ssh/is-revoked';
import { decodeKrl } from '@beacon/ssh/krl';
import { fingerprint, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { createHostCa, createUserCa, signUserCertificate, type UserCa } from '@beacon/ssh/sign-certificate';
import { verifyCertificate } from '@beacon/ssh/verify-certificate';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { askToken, Machine } from '../../packages/ca/test/machine.ts';
import { newSigner, type Reply, refusal } from '../../packages/ca/test/small-ca.ts';
import { draw, lineOf, publish, startTrustLab, type TrustLab } from '../../packages/ca/test/trust-lab.ts';
import { renew, sendReport } from '../../packages/host/src/ask-ca.ts';
import { verifyHostCertificate } from '../../packages/host/src/host-certificate.ts';
import { syncTrust } from '../../packages/host/src/sync-trust.ts';

const NAMES = ['one', 'two', 'three'] as const;
const LIFETIME_SECONDS = 60;
const LOGIN = 'beacon';

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write('the change of CA keys is left out: installing trust needs root\n');

/** A host below a folder: what sshd would read there, and the certificate that it shows. */
class Site {
  readonly machine: Machine;
  readonly #lab: TrustLab;
  readonly #folder: string;
  #certificate = '';

  constructor(lab: TrustLab, id: string, folder: string) {
    this.#lab = lab;
    this.#folder = folder;
    this.machine = new Machine(lab.ca, id);
    for (const path of ['etc/beacon/trust', 'var/lib']) mkdirSync(join(folder, path), { recursive: true });
  }

  async enrol(): Promise<void> {
    const token = (await askToken(this.#lab, this.machine.id)).body['token'];
    this.#certificate = (await this.machine.enrol(token)).body['certificate'];
    await this.sync();
  }

  /** Trust, a report, and the host certificate when the CA wants it renewed. */
  async sync(): Promise<void> {
    const { ca, root } = this.#lab;
    const { id: host, key } = this.machine;
    const outside = { fetch, now: () => ca.clock.now(), timeoutMs: 10_000 };
    const note = { host, login: LOGIN, rootKey: lineOf(root.publicKey), pools: new Map(), ca: ca.url };
    const { trust } = await syncTrust(openMachine(this.#folder), note, { outside });
    const asker = { outside, ca: ca.url, host, key };
    const report = () =>
      sendReport(asker, {
        clock: ca.clock.now().toISOString(),
        versions: { beacon: '0.1.0', sshd: 'OpenSSH_9.2p1' },
        trust: { root: trust.root.version, status: trust.status.version },
        certificate: parseCertificateLine(this.#certificate).serial.toString(),
        head: this.machine.head,
        records: [],
      });
    if (!(await report()).renew) return;
    const line = await renew(asker);
    verifyHostCertificate(line, { host, key: key.publicKey, trust, now: ca.clock.now() });
    this.#certificate = line;
    expect((await report()).renew).toBe(false);
  }

  /** Whether a person's certificate opens this host, by what lies where sshd reads it. */
  admits(line: string): boolean {
    const at = (name: string) => join(this.#folder, 'etc/beacon/trust/current', name);
    const authorities = readFileSync(at('user_ca.pub'), 'utf8').trim().split('\n');
    const krl = decodeKrl(readFileSync(at('krl')));
    return holds(() =>
      verifyCertificate(parseCertificateLine(line.trimEnd()), {
        now: this.#lab.ca.clock.now(),
        kind: 'user',
        principal: `${LOGIN}@${this.machine.id}`,
        authorities: authorities.map((text) => parsePublicKeyLine(text).key),
        isRevoked: (one) => isRevoked(krl, one),
      }),
    );
  }

  /** Whether who was told of these keys believes that this is the host. */
  isBelievedBy(authorities: readonly string[]): boolean {
    return holds(() =>
      verifyCertificate(parseCertificateLine(this.#certificate.trimEnd()), {
        now: this.#lab.ca.clock.now(),
        kind: 'host',
        principal: this.machine.id,
        authorities: authorities.map((text) => parsePublicKeyLine(text).key),
      }),
    );
  }
}

function holds(verify: () => void): boolean {
  try {
    verify();
    return true;
  } catch {
    return false;
  }
}

(isRoot ? describe : describe.skip)('three hosts', () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-rotation-'));
  const [userNext, hostNext] = [newSigner(), newSigner()];
  let lab: TrustLab;
  let sites: Site[];
  let root = 1;
  beforeAll(async () => {
    lab = await startTrustLab(
      { trustedProxies: ['127.0.0.1'], hosts: false },
      { userCaNext: createUserCa(userNext), hostCaNext: createHostCa(hostNext) },
    );
    await publish(lab);
    sites = NAMES.map((name) => new Site(lab, name, join(folder, name)));
    for (const site of sites) await site.enrol();
  }, 60_000);
  afterAll(async () => {
    await lab?.ca.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const [user, host] = [() => lab.ca.keys.userCa, () => lab.ca.keys.hostCa];
  let userCa: string[] | undefined;
  let hostCa: string[] | undefined;
  /** The next root, of the keys that count now. */
  const publishNext = async (parts: { now?: boolean } = {}): Promise<Reply> => {
    const keys = { ...(userCa && { userCa }), ...(hostCa && { hostCa }) };
    const reply = await publish(lab, draw(lab, { version: root + 1, ...keys }), parts);
    if (reply.status === 201) root += 1;
    return reply;
  };
  const activate = (key: string) =>
    lab.ca.ask(lab.ada, 'POST', '/v1/rotation', { v: 1, key, without: [], reason: 'a test' });
  const revokeKey = (value: string) =>
    lab.ca.ask(lab.ada, 'POST', '/v1/revocations', { v: 1, by: 'ca_key', value, reason: 'stolen' });
  const syncAll = async () => {
    for (const site of sites) await site.sync();
  };
  /** Nobody who is right is refused: a fresh certificate opens each host, and each host is believed. */
  const nobodyIsRefused = async () => {
    for (const site of sites) {
      const { id } = site.machine;
      const reply = await lab.ca.sign(lab.ada, {
        host: id,
        login: LOGIN,
        lifetime_seconds: LIFETIME_SECONDS,
      });
      expect([id, reply.status]).toEqual([id, 201]);
      expect([id, site.admits(reply.body['certificate'])]).toEqual([id, true]);
      expect([id, site.isBelievedBy(reply.body['host'].certificate_authorities)]).toEqual([id, true]);
    }
  };
  /** What a thief of a key of the user CA makes himself, an hour long; which hosts it opens. */
  const openedByThief = async (key: UserCa) => {
    const seconds = BigInt(Math.floor(lab.ca.clock.now().getTime() / 1000));
    const opened: string[] = [];
    for (const site of sites) {
      const { id } = site.machine;
      const blob = await signUserCertificate(
        {
          publicKey: newSigner().publicKey,
          serial: 2n ** 50n,
          keyId: 'thief',
          principals: [`${LOGIN}@${id}`],
          validAfter: seconds - 60n,
          validBefore: seconds + 3_600n,
        },
        key,
        Buffer.alloc(32, 7),
      );
      if (site.admits(formatCertificateLine(blob, 'thief'))) opened.push(id);
    }
    return opened;
  };

  test('B13: the user CA: refused while a host lacks the key, and after it the former key opens nothing', async () => {
    await nobodyIsRefused();
    userCa = [lineOf(user().publicKey), lineOf(userNext.publicKey)];
    expect((await publishNext()).status).toBe(201);
    await nobodyIsRefused();
    for (const site of sites.slice(0, 2)) await site.sync();
    const early = await activate(fingerprint(userNext.publicKey));
    expect(refusal(early)).toEqual({ status: 409, code: 'rotation-waits' });
    expect(early.body['denial']).toEqual({ hosts: ['three'] });
    await nobodyIsRefused();
    await sites[2]?.sync();
    expect((await activate(fingerprint(userNext.publicKey))).status).toBe(201);
    await nobodyIsRefused();
    userCa = [lineOf(userNext.publicKey)];
    expect(refusal(await publishNext())).toEqual({ status: 409, code: 'rotation-waits' });
    lab.ca.clock.offsetMs += (LIFETIME_SECONDS + 1) * 1000;
    expect((await publishNext()).status).toBe(201);
    expect(await openedByThief(user())).toEqual([...NAMES]);
    await nobodyIsRefused();
    for (const [index, site] of sites.entries()) {
      await site.sync();
      expect(await openedByThief(user())).toEqual(NAMES.slice(index + 1));
      await nobodyIsRefused();
    }
  });

  test('B13: the host CA: each host renews by itself, and is believed all the while', async () => {
    hostCa = [lineOf(host().publicKey), lineOf(hostNext.publicKey)];
    expect((await publishNext()).status).toBe(201);
    const key = fingerprint(hostNext.publicKey);
    expect((await activate(key)).body['denial']).toEqual({ hosts: ['one', 'three', 'two'] });
    await syncAll();
    await nobodyIsRefused();
    expect((await activate(key)).status).toBe(201);
    await nobodyIsRefused();
    hostCa = [lineOf(hostNext.publicKey)];
    for (const [index, site] of sites.entries()) {
      const waits = (await publishNext()).body['denial'];
      expect(waits.hosts).toEqual(NAMES.slice(index).toSorted());
      await site.sync();
      await nobodyIsRefused();
    }
    expect((await publishNext()).status).toBe(201);
    await syncAll();
    await nobodyIsRefused();
    for (const site of sites) expect(site.isBelievedBy([lineOf(host().publicKey)])).toBe(false);
  });

  test('B13: stolen keys: with one sync they open nothing, and with the next root all is as it was', async () => {
    const stolen = createUserCa(userNext);
    expect(await openedByThief(stolen)).toEqual([...NAMES]);
    for (const key of [userNext, hostNext])
      expect((await revokeKey(fingerprint(key.publicKey))).status).toBe(200);
    await syncAll();
    expect(await openedByThief(stolen)).toEqual([]);
    const [user, host] = [createUserCa(newSigner()), createHostCa(newSigner())];
    await lab.ca.restart({ keys: { ...lab.ca.keys, userCa: user, hostCa: host } });
    [userCa, hostCa] = [[lineOf(user.publicKey)], [lineOf(host.publicKey)]];
    expect((await publishNext()).status).toBe(201);
    await syncAll();
    await nobodyIsRefused();
    expect(await openedByThief(stolen)).toEqual([]);
    for (const site of sites) expect(site.isBelievedBy([lineOf(hostNext.publicKey)])).toBe(false);
  });
});
