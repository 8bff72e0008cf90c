/**
 * `beacon host sync` and the real CA: the timer of a host that keeps its trust fresh without help, the host certificate, the
 * report; and what a thief of the status key can do to hosts, until a new root takes it from them.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readlinkSync, realpathSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openMachine } from '@beacon/host';
import { formatTrustStatus, parseTrustStatus, TRUST_STATUS_NAMESPACE } from '@beacon/protocol/trust';
import { formatCertificateLine, parseCertificateLine } from '@beacon/ssh/certificate';
import { generateKey } from '@beacon/ssh/key';
import { parsePublicKeyLine } from '@beacon/ssh/public-key';
import { signHostCertificate } from '@beacon/ssh/sign-certificate';
import { createSigner } from '@beacon/ssh/signature';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newSigner } from '../../packages/ca/test/small-ca.ts';
import {
  draw,
  lineOf,
  publish,
  signText,
  startTrustLab,
  type TrustLab,
} from '../../packages/ca/test/trust-lab.ts';
import { syncTrust } from '../../packages/host/src/sync-trust.ts';
import { GateConnection } from '../lab/gate-connection.ts';
import { whyNoLab } from '../lab/possible.ts';
import { BEACON, CERTIFICATE, useEnrollingHost } from './enrolling-host.ts';

const HIGHEST = Number.MAX_SAFE_INTEGER;

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write('installing trust is left out: it needs root\n');

(isRoot ? describe : describe.skip)('a host of a CA whose status key was stolen', () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-host-sync-'));
  let lab: TrustLab;
  let rootKey: string;
  beforeAll(async () => {
    mkdirSync(join(folder, 'etc/beacon/trust'), { recursive: true });
    mkdirSync(join(folder, 'var/lib'), { recursive: true });
    lab = await startTrustLab();
    rootKey = lineOf(lab.root.publicKey);
    await publish(lab);
  }, 180_000);
  afterAll(async () => {
    await lab?.ca.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const sync = (ca = lab.ca.url) =>
    syncTrust(
      openMachine(folder),
      { host: 'build-01', login: 'beacon', rootKey, pools: new Map(), ca },
      { outside: { fetch, now: () => lab.ca.clock.now(), timeoutMs: 10_000 } },
    );
  const inForce = () => readlinkSync(join(folder, 'etc/beacon/trust/current'));

  test('B4: a version that was driven up to the highest is left by a new root that names another status key', async () => {
    expect(await sync()).toMatchObject({ version: '1-1', changed: true });
    // The thief stands between host and CA, and signs what hides every revocation to come.
    const real = async (path: string) => Buffer.from(await (await fetch(lab.ca.url + path)).arrayBuffer());
    const answer = JSON.parse(String(await real('/v1/trust/status')));
    const status = parseTrustStatus(Buffer.from(answer.document));
    const document = formatTrustStatus({ ...status, version: HIGHEST });
    const signature = await signText(lab.status, document, TRUST_STATUS_NAMESPACE);
    const bodies: Record<string, Buffer> = {
      '/v1/trust/root': await real('/v1/trust/root'),
      '/v1/krl': await real('/v1/krl'),
      '/v1/trust/status': Buffer.from(JSON.stringify({ document, signature })),
    };
    const thief = createServer((request, response) => response.end(bodies[request.url ?? '']));
    await new Promise<void>((resolve) => thief.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(thief.address() as AddressInfo).port}`;
    try {
      expect(await sync(url)).toMatchObject({ version: `1-${HIGHEST}` });
      await expect(sync()).rejects.toMatchObject({ code: 'trust-went-back' });

      const next = newSigner();
      await lab.ca.restart({ keys: { ...lab.ca.keys, trust: { root: lab.root.publicKey, status: next } } });
      const root = draw(lab, { version: 2, statusKey: lineOf(next.publicKey) });
      expect((await publish(lab, root)).status).toBe(201);
      const { version } = await sync();
      expect(version).toMatch(/^2-[1-9][0-9]{0,3}$/);

      // What the thief has is good for nothing more.
      await expect(sync(url)).rejects.toMatchObject({ code: 'trust-went-back' });
      const forged = formatTrustStatus({ ...status, rootVersion: 2, version: HIGHEST });
      bodies['/v1/trust/root'] = await real('/v1/trust/root');
      bodies['/v1/trust/status'] = Buffer.from(
        JSON.stringify({
          document: forged,
          signature: await signText(lab.status, forged, TRUST_STATUS_NAMESPACE),
        }),
      );
      await expect(sync(url)).rejects.toMatchObject({ code: 'trust-refused' });
      expect(inForce()).toBe(version);
    } finally {
      thief.close();
      thief.closeAllConnections();
    }
  });
});

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`sync on a host is left out: ${why}\n`);

(why === undefined ? describe : describe.skip)('an enrolled host', () => {
  const at = useEnrollingHost();
  let id: string;
  const script = (text: string) => at().host.script(text);
  const sync = () => at().host.exec(['sh', '-c', `${BEACON} sync`]);
  const inForce = async () => (await script('readlink /etc/beacon/trust/current')).trim();
  const revoke = async (serial: string): Promise<void> => {
    const { ca } = at();
    const body = { v: 1, by: 'serial', value: serial, reason: 'a test' };
    expect((await ca.ca.ask(ca.ada, 'POST', '/v1/revocations', body)).status).toBeLessThan(300);
  };
  const reported = async () => {
    const { ca } = at();
    const { body } = await ca.ca.ask(ca.ada, 'GET', '/v1/host-reports');
    return body['hosts'].find((one: { id: string }) => one.id === id)?.report;
  };
  const until = async (what: () => Promise<boolean>, seconds: number): Promise<boolean> => {
    for (let second = 0; second < seconds; second++) {
      if (await what()) return true;
      await delay(1_000);
    }
    return false;
  };
  /** What the machine's sshd shows to who asks it now; after a reload it is away for a moment. */
  const shown = async () => {
    for (let attempt = 0; attempt < 50; attempt++) {
      const { stdout } = await at().host.exec(['ssh-keyscan', '-c', '-t', 'ed25519', '127.0.0.1']);
      const [line] = /\S+-cert-v01@openssh\.com \S+/.exec(stdout) ?? [];
      if (line !== undefined) return parseCertificateLine(line);
      await delay(100);
    }
    throw new Error('sshd shows no certificate');
  };

  beforeAll(async () => {
    await script("useradd --create-home --shell /bin/sh deploy; usermod -p '*' deploy");
    id = await at().asNew({ logins: ['beacon', 'deploy'] });
    const init = await at().init(id, '--token-file /root/token --personal-login deploy');
    expect(init).toMatchObject({ status: 0 });
  }, 120_000);

  test('K8: its timer takes what the CA revoked into force within the promised 90 seconds, and tells the CA of a new root', async () => {
    const { ca } = at();
    const before = await inForce();
    const { body } = await ca.ca.sign(ca.ada);
    await revoke(body['serial']);
    expect((await publish(ca, draw(ca, { version: 2 }))).status).toBe(201);
    expect(await until(async () => (await inForce()) !== before, 90)).toBe(true);
    expect(await until(async () => (await reported())?.trust.root === 2, 10)).toBe(true);
    expect(await inForce()).toMatch(/^2-/);
    expect(await reported()).toMatchObject({ clock_off_seconds: 0, head_refused: null });
    expect(await at().check()).toMatchObject({ status: 0 });
  }, 240_000);

  test('its unit verifies, and leaves little exposed', async () => {
    expect(await script('systemd-analyze verify /etc/systemd/system/beacon-host-sync.*')).toBe('');
    const said = await script('systemd-analyze security beacon-host-sync.service');
    expect(Number(/exposure level for \S+: ([0-9.]+)/.exec(said)?.[1])).toBeLessThanOrEqual(2);
  });

  test('K8: the session of a personal certificate that is revoked ends with all that it runs, and no other', async () => {
    const { ca, host } = at();
    const hostKey = (await host.run(['cat', '/etc/ssh/ssh_host_ed25519_key.pub'])).trimEnd();
    const enter = async () => {
      const key = generateKey('ssh-ed25519');
      const signer = createSigner(key.privateKey);
      const { body } = await ca.ca.sign(ca.ada, { host: id, login: 'deploy' }, { signer });
      const blob = Buffer.from(body['certificate'].split(' ')[1], 'base64');
      const connection = await GateConnection.open(
        { name: id, address: host.address, hostKey },
        { blob, key },
        { login: 'deploy', command: ['nohup sleep 300 >/dev/null 2>&1 & echo in; exec sleep 300'] },
      );
      expect(await until(() => Promise.resolve(connection.stray.includes('in')), 10)).toBe(true);
      return { connection, serial: body['serial'] as string };
    };
    const running = async () => Number(await script('pgrep -c -u deploy sleep || true'));
    const [one, other] = [await enter(), await enter()];
    expect(await running()).toBe(4);
    await revoke(one.serial);
    await script('systemctl start beacon-host-sync.service');
    expect(await one.connection.ended).not.toBe(0);
    expect(await until(async () => (await running()) === 2, 10)).toBe(true);
    expect(other.connection.process.exitCode).toBeNull();
    expect(await script('journalctl --unit=beacon-host-sync --output=cat')).toMatch(
      /ended a session: its certificate beacon\/[0-9a-z]{26}\/github:101 is revoked/,
    );
    other.connection.process.kill('SIGKILL');
    await script('pkill -u deploy sleep || true');
    expect(
      await until(
        async () =>
          (await script('systemctl start beacon-host-sync.service; ls /var/lib/beacon-sessions')) === '',
        10,
      ),
    ).toBe(true);
  }, 180_000);

  test('a host certificate at two thirds of its life is renewed by the unit, and sshd shows the new one', async () => {
    const { ca, host } = at();
    const { key } = parsePublicKeyLine(
      (await host.run(['cat', '/etc/ssh/ssh_host_ed25519_key.pub'])).trimEnd(),
    );
    const nowSeconds = BigInt(Math.floor(Date.now() / 1_000));
    const old = await signHostCertificate(
      {
        publicKey: key,
        serial: 999_999n,
        keyId: `beacon/host/${id}`,
        principals: [id],
        validAfter: nowSeconds - 21n * 86_400n,
        validBefore: nowSeconds + 9n * 86_400n,
      },
      ca.ca.keys.hostCa,
      randomBytes(32),
    );
    await host.write(CERTIFICATE, `${formatCertificateLine(old, `beacon/host/${id}`)}\n`);
    await script('systemctl reload ssh');
    expect((await shown()).serial).toBe(999_999n);
    const reloads = () => script('journalctl --unit=ssh --output=cat | grep -c "Received SIGHUP" || true');
    const before = Number(await reloads());
    await script('systemctl start beacon-host-sync.service');
    const renewed = await shown();
    expect(renewed.serial).toBeLessThan(999n);
    expect(Number(await reloads())).toBe(before + 1);
    await script('systemctl start beacon-host-sync.service');
    expect(Number(await reloads())).toBe(before + 1);
    expect(await at().check()).toMatchObject({ status: 0 });
  }, 180_000);

  test('a certificate that the CA will not renew is talked about, and does not keep trust from being fresh', async () => {
    const { host } = at();
    const line = await host.run(['cat', CERTIFICATE]);
    const { serial } = parseCertificateLine(line.trimEnd());
    await revoke(serial.toString());
    await script('rm -f /var/lib/beacon-host/sync-state.json');
    const before = await inForce();
    const synced = await sync();
    expect(synced.status).toBe(0);
    expect(synced.stderr).toContain('TROUBLE certificate: the CA refuses (host-certificate-ended)');
    expect(synced.stderr).toContain('--replace');
    expect(await inForce()).not.toBe(before);
    const check = await at().check();
    expect(check.stdout).toContain('DEFECT beacon host sync, certificate: the CA refuses');
  }, 180_000);

  test('L3: records that were cut raise an alarm at the CA, on the host and in check', async () => {
    const file = '/var/lib/beacon/records/gate.ndjson';
    await sync();
    await script(`head -n -1 ${file} >/root/cut; cat /root/cut >${file}`);
    const synced = await sync();
    expect(synced).toMatchObject({ status: 77 });
    expect(synced.stderr).toContain(
      'ALARM report: the CA holds a head that the records of this host do not extend',
    );
    expect(await at().check()).toMatchObject({ status: 78 });
    expect((await at().check()).stdout).toContain('DEFECT beacon host sync, report: the CA holds a head');
    expect((await reported()).head_refused).not.toBeNull();
    expect(await at().records(id)).toContain('host-head-refused');
  }, 180_000);

  test('a timer that does not run, and a sync that fails, are named by check', async () => {
    await script('systemctl stop beacon-host-sync.timer');
    const check = await at().check();
    expect(check.stdout).toContain('DEFECT beacon-host-sync.timer: it does not run');
    await script('systemctl start beacon-host-sync.timer');
  });
});
