import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { engines } from '../../server/test/postgres.ts';
import { checkTrust } from '../src/check-trust.ts';
import { hostsByWarning, readTrustHealth } from '../src/trust-health.ts';
import { packageVersion } from '../src/version.ts';
import { askToken, Machine } from './machine.ts';
import { draw, publish, startTrustLab, type TrustLab } from './trust-lab.ts';

const DAY_MS = 86_400_000;
const versions = { beacon: packageVersion(), sshd: 'OpenSSH_9.2p1' };

describe.each(engines)('how trust and hosts stand on $engine', ({ place }) => {
  let lab: TrustLab;
  const machines = new Map<string, Machine>();
  const of = (id: string) => machines.get(id) ?? new Machine(lab.ca, id);
  beforeAll(async () => {
    lab = await startTrustLab({ trustedProxies: ['127.0.0.1'], hosts: false, place: await place() });
    await publish(lab);
    await lab.ca.running.maintain();
    for (const id of ['good', 'late', 'old', 'off', 'cut', 'silent']) {
      const machine = new Machine(lab.ca, id);
      machines.set(id, machine);
      await machine.enrol((await askToken(lab, id)).body['token']);
    }
  });
  afterAll(() => lab.ca.close());

  const health = (later = 0) => {
    const { store, records } = lab.ca.running.ca;
    return readTrustHealth(store, records, new Date(lab.ca.clock.now().getTime() + later));
  };
  const found = async (later = 0) => hostsByWarning((await health(later)).hosts);

  test('each host is named under what should be looked at, and a good one under nothing', async () => {
    const clock = new Date(lab.ca.clock.now().getTime() + 45_000).toISOString();
    await of('good').report({ versions });
    await of('late').report({ versions });
    await of('old').report({ versions: { ...versions, beacon: '0.0.9' } });
    await of('off').report({ versions, clock });
    await of('cut').report({ versions, head: { seq: 3, hash: 'a'.repeat(64) } });
    await of('cut').report({ versions });
    expect(await found()).toEqual({
      unseen: ['silent'],
      'trust-stale': [],
      'clock-off': ['off'],
      'version-behind': ['old'],
      'head-refused': ['cut'],
      'certificate-ending': [],
    });
  });

  test('a host is late with a root after ten minutes, and with a status after five', async () => {
    expect((await publish(lab, draw(lab, { version: 2 }))).status).toBe(201);
    await lab.ca.running.maintain();
    lab.ca.clock.offsetMs += 301_000;
    await of('good').report({ versions, trust: { root: 2, status: 1 } });
    expect((await found())['trust-stale']).toEqual(['good']);
    await of('good').report({ versions, trust: { root: 2, status: 2 } });
    expect((await found())['trust-stale']).toEqual([]);
    expect((await found(300_000))['trust-stale']).toEqual(['cut', 'late', 'off', 'old']);
  });

  test('certificates that end within a week, hosts that are not seen, and disabled ones of which nothing is said', async () => {
    expect((await found(22 * DAY_MS))['certificate-ending']).toEqual([]);
    expect((await found(23 * DAY_MS))['certificate-ending']).toHaveLength(6);
    expect((await found(31 * DAY_MS))['certificate-ending']).toHaveLength(6);
    expect((await found(DAY_MS + 700_000)).unseen).toHaveLength(6);
    const admin = await lab.ca.login('ada');
    await lab.ca.ask(admin, 'POST', '/v1/hosts/silent/disable', { v: 1, reason: 'gone' });
    expect((await found()).unseen).toEqual([]);
  });

  test('B3: root and status warn at three quarters of their life, and are a defect after it', async () => {
    const said = async (later: number) =>
      checkTrust(await health(later)).map(({ check, ok, warning }) => [check, ok, warning ?? false]);
    const hosts = ['hosts', false, false];
    expect(await said(0)).toEqual([['trust root', true, false], ['trust status', true, false], hosts]);
    expect(await said(0.76 * DAY_MS)).toEqual([
      ['trust root', true, false],
      ['trust status', true, true],
      hosts,
    ]);
    expect(await said(274 * DAY_MS)).toEqual([
      ['trust root', true, true],
      ['trust status', false, false],
      hosts,
    ]);
    expect((await said(366 * DAY_MS))[0]).toEqual(['trust root', false, false]);
    const [, , line] = checkTrust(await health());
    expect(line?.detail).toMatch(/cut: reported a record head/);
  });

  test('the figures say the same', async () => {
    const text = await lab.ca.running.metrics.text();
    for (const [name, value] of [
      ['beacon_hosts_enabled', 5],
      ['beacon_hosts_head_refused', 1],
      ['beacon_hosts_clock_off', 1],
      ['beacon_hosts_version_behind', 1],
      ['beacon_hosts_unseen', 0],
      ['beacon_hosts_trust_stale', 0],
      ['beacon_hosts_certificate_ending', 0],
    ] as const)
      expect(text).toContain(`\n${name} ${value}\n`);
    expect(text).toMatch(/\nbeacon_trust_status_life_used_ratio 0\.0\d*\n/);
    expect(text).toMatch(/\nbeacon_trust_root_expires_timestamp_seconds 1\d{9}/);
  });
});
