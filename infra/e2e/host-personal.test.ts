/**
 * Personal logins that `beacon host init` names, over a real sshd: who enters by certificate, whose own key goes on working,
 * who is shut out, what `check` sees of it, and how it is taken back.
 */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKey } from '@beacon/ssh';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { buildHost } from '../../scripts/build-host.ts';
import { GateConnection } from '../lab/gate-connection.ts';
import { Lab } from '../lab/lab.ts';
import type { LabHost } from '../lab/lab-host.ts';
import { whyNoLab } from '../lab/possible.ts';
import {
  type Certified,
  type CertifyOptions,
  lineOf,
  type PublishOptions,
  ThrowAwayCa,
} from '../lab/throw-away-ca.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`personal logins are left out: ${why}\n`);

const BEACON = '/opt/beacon-host/beacon host';
const INIT = `${BEACON} init --id build-01 --root-key /root/root.pub --trust /root/trust`;
const PERSONAL: CertifyOptions = { fields: { principals: ['deploy@build-01'], extensions: {} } };

(why === undefined ? describe : describe.skip)('personal logins of a managed host', () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-host-personal-'));
  const ca = new ThrowAwayCa({ host: 'build-01', login: 'beacon' }, () => new Date());
  const own = generateKey('ssh-ed25519');
  let lab: Lab | undefined;
  let host: LabHost;
  let before: string;

  const etc = () =>
    host.script(
      `cd /etc; find . -path ./mtab -prune -o -type f -exec sha256sum {} + | sort -k 2; find . -printf '%p %m %U:%G %l\\n' | sort`,
    );
  const publish = async (changes: PublishOptions = {}) => {
    for (const [name, content] of Object.entries(await ca.publish(changes)))
      await host.write(`/root/trust/${name}`, content);
  };
  /** What a command that a login runs for a certificate says, with how that ended. */
  const enter = async (certified: Certified, login = 'deploy') => {
    const connection = await GateConnection.open(host, certified, { login, command: ['id', '-un'] });
    return [await connection.ended, connection.stray];
  };
  const IN = [0, 'deploy\n'];
  const OUT = [255, expect.not.stringContaining('deploy')];
  /** The login's own key, with a certificate of a CA that nobody knows. */
  const byOwnKey = async () => enter(await ca.certify([], { key: own, ca: generateKey('ssh-ed25519') }));
  const defects = async () => {
    const { stdout } = await host.exec(['sh', '-c', `${BEACON} check`]);
    return stdout.split('\n').filter((line) => line.startsWith('DEFECT'));
  };

  beforeAll(async () => {
    await buildHost(join(folder, 'archive'));
    lab = await Lab.temporary();
    ({ host } = await lab.boot('build-01', { binds: { '/opt/beacon-host': join(folder, 'archive') } }));
    await host.script(`
      useradd --create-home --shell /bin/sh deploy; usermod -p '*' deploy
      install -d -m 700 -o deploy -g deploy /home/deploy/.ssh
      echo '${lineOf(own)}' >/home/deploy/.ssh/authorized_keys
      mkdir /root/trust
    `);
    await host.write('/root/root.pub', `${lineOf(ca.rootKey)}\n`);
    await publish();
    before = await etc();
  }, 300_000);
  afterAll(async () => {
    await lab?.down();
    rmSync(folder, { recursive: true, force: true });
  });

  test('are shown in the plan, and must be accounts of the machine that no other authority enters', async () => {
    expect(await host.script(`${INIT} --personal-login deploy --dry-run`)).toContain('+Match User deploy');
    const nobody = await host.exec(['sh', '-c', `${INIT} --personal-login no-such --dry-run`]);
    expect(nobody).toMatchObject({
      status: 78,
      stderr: expect.stringContaining('DEFECT account no-such: there is no such account'),
    });
    await host.write('/etc/ssh/sshd_config.d/50-x.conf', 'TrustedUserCAKeys /etc/ssh/other.pub\n');
    const other = await host.exec(['sh', '-c', `${INIT} --personal-login deploy --dry-run`]);
    expect(other.stderr).toContain('DEFECT account deploy: certificates of another authority enter it');
    await host.script('rm /etc/ssh/sshd_config.d/50-x.conf');
    const reserved = await host.exec(['sh', '-c', `${INIT} --personal-login beacon-setup --dry-run`]);
    expect(reserved.status).toBe(64);
    expect(await etc()).toBe(before);
  });

  test('are entered by a certificate that was made for them and by their own key, and by no other certificate', async () => {
    await host.script(`${INIT} --personal-login deploy`);
    expect(await defects()).toEqual([]);
    expect(await enter(await ca.certify([], PERSONAL))).toEqual(IN);
    expect(await byOwnKey()).toEqual(IN);
    // Made for a command, of the other login, of another host.
    expect(await enter(await ca.certify([], { fields: { principals: ['deploy@build-01'] } }))).toEqual(OUT);
    expect(await enter(await ca.certify([]))).toEqual(OUT);
    const elsewhere = { fields: { principals: ['deploy@build-02'], extensions: {} } };
    expect(await enter(await ca.certify([], elsewhere))).toEqual(OUT);
    // A personal certificate opens neither the gate nor an account that nobody named.
    expect(await enter(await ca.certify([], PERSONAL), 'beacon')).toEqual(OUT);
    expect(await enter(await ca.certify([], PERSONAL), 'bin')).toEqual(OUT);
  });

  test('are shut to a revoked certificate; a damaged list shuts all certificates out, and not the own key', async () => {
    const revoked = await ca.certify([], PERSONAL);
    await publish({ revoked: [revoked.serial] });
    await host.script(INIT);
    expect(await enter(revoked)).toEqual(OUT);
    const good = await ca.certify([], PERSONAL);
    expect(await enter(good)).toEqual(IN);
    await host.script('cd /etc/beacon/trust/current/; cp -p krl /root/krl; printf x >krl');
    expect(await enter(good)).toEqual(OUT);
    expect(await byOwnKey()).toEqual(IN);
    await host.script('cat /root/krl >/etc/beacon/trust/current/krl');
    expect(await enter(good)).toEqual(IN);
  });

  test.each([
    ['another name is in the list', 'echo root >>/etc/beacon/personal-logins', '/etc/beacon/personal-logins'],
    [
      'the list may be written by all',
      'chmod 666 /etc/beacon/personal-logins',
      '/etc/beacon/personal-logins',
    ],
    [
      'the second block is missing',
      'sed -i "/Match User deploy/,\\$d" /etc/ssh/sshd_config.d/10-beacon.conf',
      'TrustedUserCAKeys',
      '10-beacon.conf',
    ],
    [
      'an earlier drop-in lets others say who may enter',
      'printf "Match User deploy\\nAuthorizedPrincipalsFile /tmp/x\\n" >/etc/ssh/sshd_config.d/05-x.conf',
      '05-x.conf',
      'AuthorizedPrincipalsFile',
    ],
    [
      'sshd keeps it out',
      'echo DenyUsers deploy >/etc/ssh/sshd_config.d/05-x.conf',
      'DenyUsers',
      'keeps the login out',
    ],
    [
      'the account is gone',
      'sed -i.old /^deploy:/d /etc/passwd',
      'account deploy',
      'there is no such account',
    ],
  ])('check names it when %s', async (_what, alter, ...said) => {
    await host.script('cp -a /etc /root/etc');
    await host.script(alter);
    try {
      const found = (await defects()).join('\n');
      for (const word of said) expect(found).toContain(word);
    } finally {
      await host.script(
        'rm -f /etc/ssh/sshd_config.d/05-x.conf /etc/passwd.old; cp -a /root/etc/passwd /etc/; cp -a /root/etc/beacon/personal-logins /etc/beacon/; cp -a /root/etc/ssh/sshd_config.d/10-beacon.conf /etc/ssh/sshd_config.d/; rm -r /root/etc; systemctl reload ssh; sleep 1',
      );
    }
    expect(await defects()).toEqual([]);
  });

  test('are taken back by name, and all of it by remove; the own key works throughout', async () => {
    const good = await ca.certify([], PERSONAL);
    await host.script(`${INIT} --no-personal-logins`);
    expect(await enter(good)).toEqual(OUT);
    expect(await byOwnKey()).toEqual(IN);
    expect(await defects()).toEqual([]);
    await host.script(`${INIT} --personal-login deploy`);
    expect(await enter(good)).toEqual(IN);
    await host.script(`${BEACON} remove --purge`);
    expect(await enter(good)).toEqual(OUT);
    expect(await byOwnKey()).toEqual(IN);
    expect(await etc()).toBe(before);
  });
});
