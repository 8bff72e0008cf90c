/**
 * The CA as an operator installs it: the archive, on a machine without Node, as a systemd unit. Whole and for real, in a
 * host of the lab.
 */
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { BuiltArchive } from '../../scripts/archive.ts';
import { buildServer } from '../../scripts/build-server.ts';
import { Lab } from '../lab/lab.ts';
import type { LabHost } from '../lab/lab-host.ts';
import { whyNoLab } from '../lab/possible.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`the CA as a unit is left out: ${why}\n`);

const SECRETS = [
  'user_ca',
  'host_ca',
  'passphrase',
  'token_signing.jwk',
  'trust_status',
  'sealing',
  'github_client_secret',
];
const MAX_EXPOSURE = 1.5;
const ADDED_POLICY = `@id("added")
permit (principal == Person::"github:1", action == Action::"ca.records", resource);
`;
/** One column of the CA's store, a value a line. */
const QUERY = (query: string) => `
import { DatabaseSync } from 'node:sqlite';
const store = new DatabaseSync('/var/lib/beacon-ca/ca.db', { readOnly: true });
process.stdout.write(store.prepare(${JSON.stringify(query)}).all().map((row) => Object.values(row)[0]).join('\\n'));
`;

(why === undefined ? describe : describe.skip)('the CA as a service', () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-unit-test-'));
  let lab: Lab | undefined;
  let host: LabHost;
  let archive: BuiltArchive;

  beforeAll(async () => {
    archive = buildServer(join(folder, 'built'), { compress: false });
    lab = await Lab.temporary();
    ({ host } = await lab.boot('ca-01'));
    await host.run(['mkdir', '/opt/beacon']);
    await host.run(['tar', '-x', '-C', '/opt/beacon'], { input: readFileSync(archive.file) });
    await host.script(`
      ln -s ${basename(archive.file, '.tar')} /opt/beacon/current
      ln -s /opt/beacon/current/bin/beacon /usr/local/bin/beacon
      install -D -m 644 /opt/beacon/current/systemd/beacon-ca.sysusers /etc/sysusers.d/beacon-ca.conf
      install -m 644 /opt/beacon/current/systemd/beacon-ca.service /etc/systemd/system/
      systemd-sysusers
      install -d -m 700 -o beacon-ca -g beacon-ca /var/lib/beacon-ca
      systemctl daemon-reload
      beacon ca init --systemd --public-url http://127.0.0.1:8443 --client-id Iv1.unit00000000000
      echo the-secret-of-the-github-app | install -m 600 /dev/stdin /etc/beacon-ca/keys/github_client_secret
      CREDENTIALS_DIRECTORY=/etc/beacon-ca/keys beacon ca check
      systemctl enable --now beacon-ca
    `);
  }, 300_000);
  afterAll(async () => {
    await lab?.down();
    rmSync(folder, { recursive: true, force: true });
  });

  const property = async (name: string) =>
    (await host.run(['systemctl', 'show', '--property', name, '--value', 'beacon-ca'])).trim();
  const queried = (query: string) =>
    host.run(['/opt/beacon/current/bin/node', '--input-type=module', '-'], { input: QUERY(query) });
  const kinds = async () => (await queried('select kind from records order by seq')).split('\n');
  const readyz = async () =>
    JSON.parse(await host.run(['curl', '-s', 'http://127.0.0.1:8443/readyz'])) as Record<string, unknown>;
  const rulesLoaded = async () => (await kinds()).filter((kind) => kind === 'rules-loaded').length;

  async function until(what: () => Promise<boolean>): Promise<void> {
    for (let attempt = 0; attempt < 300; attempt += 1) {
      if (await what()) return;
      await delay(100);
    }
    throw new Error(
      `it does not happen: ${await host.run(['journalctl', '-u', 'beacon-ca', '-n', '20', '-o', 'cat'])}`,
    );
  }

  test('two builds of one tree give the same bytes, whatever the umask', () => {
    const before = process.umask(0o077);
    const again = buildServer(join(folder, 'again'), { compress: false });
    process.umask(before);
    expect(again.sha256).toBe(archive.sha256);
  }, 120_000);

  test('runs on a machine without Node, as its own person, and has started when it is ready', async () => {
    expect((await host.exec(['sh', '-c', 'command -v node'])).status).not.toBe(0);
    expect(await property('ActiveState')).toBe('active');
    expect(await readyz()).toMatchObject({ status: 'ok' });
    const status = await host.run(['cat', `/proc/${await property('MainPID')}/status`]);
    const number = (await host.run(['id', '-u', 'beacon-ca'])).trim();
    expect(number).not.toBe('0');
    expect(status).toMatch(new RegExp(`^Uid:\\s+${number}\\s+${number}\\s+${number}\\s+${number}$`, 'm'));
    for (const set of ['CapEff', 'CapPrm', 'CapBnd'])
      expect(status).toMatch(new RegExp(`^${set}:\\s+0+$`, 'm'));
    expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
  });

  test('is not exposed more than it must be, and systemd finds no fault in the unit', async () => {
    const verified = await host.exec(['systemd-analyze', 'verify', 'beacon-ca.service']);
    expect(verified).toEqual({ status: 0, stdout: '', stderr: '' });
    const said = await host.run(['systemd-analyze', 'security', '--no-pager', 'beacon-ca.service']);
    const [, exposure] = /Overall exposure level for beacon-ca[.]service: ([0-9.]+)/.exec(said) ?? [];
    expect(Number(exposure)).toBeLessThanOrEqual(MAX_EXPOSURE);
  });

  test('shows its secrets to nobody: not to others, not in what systemd tells, not in its environment or log', async () => {
    const process_ = `/proc/${await property('MainPID')}`;
    const told = [
      await host.run(['systemctl', 'show', 'beacon-ca']),
      await host.run(['systemctl', 'cat', 'beacon-ca']),
      await host.run(['cat', `${process_}/environ`, `${process_}/cmdline`]),
      await host.run(['journalctl', '-o', 'export']),
    ].join('\n');
    for (const name of SECRETS) {
      const text = (await host.run(['cat', `/etc/beacon-ca/keys/${name}`])).trim();
      expect(told).not.toContain(text.split('\n')[1] ?? text);
      for (const path of [`/run/credentials/beacon-ca.service/${name}`, `/etc/beacon-ca/keys/${name}`]) {
        const read = await host.exec(['runuser', '-u', 'nobody', '--', 'cat', path]);
        expect([read.status, read.stdout]).toEqual([1, '']);
      }
    }
    const asItself = await host.exec([
      'runuser',
      '-u',
      'beacon-ca',
      '--',
      'cat',
      '/etc/beacon-ca/keys/user_ca',
    ]);
    expect(asItself.stdout).toBe('');
    const stored = await host.exec(['runuser', '-u', 'nobody', '--', 'ls', '/var/lib/beacon-ca']);
    expect(stored.status).not.toBe(0);
  });

  test('cannot change its own policy or configuration', async () => {
    const inside = ['nsenter', '--target', await property('MainPID'), '--mount', '--'];
    for (const path of [
      '/etc/beacon-ca/policy/policy.cedar',
      '/etc/beacon-ca/ca.yaml',
      '/opt/beacon/current/bin/beacon',
    ])
      expect((await host.exec([...inside, 'sh', '-c', `echo >> ${path}`])).stderr).toContain('Read-only');
    expect((await host.exec([...inside, 'ls', '/etc/beacon-ca/keys'])).stdout).toBe('');
  });

  test('takes a changed policy on reload and records it; a broken one leaves the last good one in use', async () => {
    const before = await rulesLoaded();
    await host.write('/etc/beacon-ca/policy/added.cedar', ADDED_POLICY);
    await host.run(['systemctl', 'reload', 'beacon-ca']);
    await until(async () => (await rulesLoaded()) === before + 1);

    await host.write('/etc/beacon-ca/policy/added.cedar', 'permit (');
    await host.run(['systemctl', 'reload', 'beacon-ca']);
    await until(async () => JSON.stringify(await readyz()).includes('last-good'));
    expect(await readyz()).toMatchObject({ status: 'ok' });
    expect(await rulesLoaded()).toBe(before + 1);
    expect(await host.run(['journalctl', '-u', 'beacon-ca', '-o', 'cat'])).toContain('added.cedar:1:');

    await host.write('/etc/beacon-ca/policy/added.cedar', ADDED_POLICY);
    await host.run(['systemctl', 'reload', 'beacon-ca']);
    await until(async () => !JSON.stringify(await readyz()).includes('last-good'));
  });

  test('is there again after kill -9, with the same chain of records', async () => {
    const before = await kinds();
    await host.run(['systemctl', 'kill', '--kill-who=main', '--signal=KILL', 'beacon-ca']);
    await until(
      async () => (await property('NRestarts')) === '1' && (await property('ActiveState')) === 'active',
    );
    expect(await readyz()).toMatchObject({ status: 'ok' });
    expect((await kinds()).slice(0, before.length)).toEqual(before);
    expect(await host.run(['beacon', 'records', 'verify', '--config', '/etc/beacon-ca/ca.yaml'])).toMatch(
      /^ok: /,
    );
  }, 120_000);

  test('stops in order, and does not try again what a refused configuration can only refuse again', async () => {
    await host.run(['systemctl', 'stop', 'beacon-ca']);
    expect([
      await property('Result'),
      await property('ExecMainStatus'),
      await property('ExecMainCode'),
    ]).toEqual(['success', '0', '1']);
    expect(await host.run(['journalctl', '-u', 'beacon-ca', '-o', 'cat'])).toContain('"msg":"stopping"');
    expect((await host.exec(['curl', '-s', 'http://127.0.0.1:8443/readyz'])).status).not.toBe(0);

    await host.script("sed -i 's/^policy: /polcy: /' /etc/beacon-ca/ca.yaml");
    expect((await host.exec(['systemctl', 'start', 'beacon-ca'])).status).not.toBe(0);
    expect([await property('ActiveState'), await property('ExecMainStatus')]).toEqual(['failed', '64']);
    await host.script("sed -i 's/^polcy: /policy: /' /etc/beacon-ca/ca.yaml");
    await host.run(['systemctl', 'start', 'beacon-ca']);
    expect(await readyz()).toMatchObject({ status: 'ok' });
  }, 120_000);

  test('is upgraded as the documents say; the older version refuses the store of the newer, and takes the backup', async () => {
    const old = basename(archive.file, '.tar');
    const next = 'beacon-server-99.0.0-linux-x64';
    const switchTo = (folder: string) => host.run(['ln', '-sfn', folder, '/opt/beacon/current']);
    const version = async () =>
      (await queried("select version from schema_version where name = 'ca'")).trim();
    const before = await kinds();
    const versionBefore = Number(await version());

    // The next version: this one, and one more step for the CA's tables.
    await host.script(`cp -a /opt/beacon/${old} /opt/beacon/${next}`);
    await host.script(`cat >> /opt/beacon/${next}/packages/ca/dist/store.js <<'JS'

caMigrations.steps.push((database) => database.schema.createTable('of_tomorrow').addColumn('id', 'text').execute());
JS`);
    await host.script(`
      CREDENTIALS_DIRECTORY=/etc/beacon-ca/keys /opt/beacon/${next}/bin/beacon ca check
      beacon ca backup --out /root/before-99.db
    `);
    await switchTo(next);
    await host.run(['systemctl', 'restart', 'beacon-ca']);
    expect(await readyz()).toMatchObject({ status: 'ok' });
    expect(Number(await version())).toBe(versionBefore + 1);
    expect((await kinds()).slice(0, before.length)).toEqual(before);
    const beside = await host.run(['sh', '-c', 'ls /var/lib/beacon-ca']);
    expect(beside).toMatch(/^ca\.db\.before-/m);

    await switchTo(old);
    await host.run(['systemctl', 'stop', 'beacon-ca']);
    const sum = () => host.run(['sha256sum', '/var/lib/beacon-ca/ca.db']);
    const newer = await sum();
    expect((await host.exec(['systemctl', 'start', 'beacon-ca'])).status).not.toBe(0);
    // Longer than RestartSec.
    await delay(3_000);
    const stands = [await property('ActiveState'), await property('ExecMainStatus')];
    expect([...stands, await property('NRestarts')]).toEqual(['failed', '64', '0']);
    expect(await host.run(['journalctl', '-u', 'beacon-ca', '-n', '20', '-o', 'cat'])).toContain(
      'run the newer program',
    );
    expect(await sum()).toBe(newer);

    await host.script(`
      mkdir /root/newer && mv /var/lib/beacon-ca/ca.db* /root/newer/
      beacon ca restore --from /root/before-99.db
      chown -R beacon-ca: /var/lib/beacon-ca
      systemctl reset-failed beacon-ca
      systemctl start beacon-ca
    `);
    expect(await readyz()).toMatchObject({ status: 'ok' });
    expect(await kinds()).toEqual([...before, 'restored']);
  }, 180_000);

  test('the broker runs beside it as its own person, known to it, and starts ssh from where it is confined', async () => {
    await host.script(`
      install -D -m 644 /opt/beacon/current/systemd/beacon-broker.sysusers /etc/sysusers.d/beacon-broker.conf
      install -m 644 /opt/beacon/current/systemd/beacon-broker.service /etc/systemd/system/
      systemd-sysusers
      install -d -m 700 -o beacon-broker -g beacon-broker /var/lib/beacon-broker
      mkdir -p /etc/systemd/system/beacon-broker.service.d
      systemctl daemon-reload
    `);
    const url = ['--public-url', 'http://127.0.0.1:8444', '--ca-url', 'http://127.0.0.1:8443'];
    const made = await host.run(['beacon', 'broker', 'init', '--systemd', ...url, '--json']);
    const { entry } = JSON.parse(made) as { entry: string };
    await host.write('/etc/beacon-ca/services.yaml', `version: 1\nservices:\n${entry}`);
    const loaded = await rulesLoaded();
    await host.run(['systemctl', 'reload', 'beacon-ca']);
    await until(async () => (await rulesLoaded()) > loaded);
    await host.script('CREDENTIALS_DIRECTORY=/etc/beacon-broker/keys beacon broker check');

    const verified = await host.exec(['systemd-analyze', 'verify', 'beacon-broker.service']);
    expect(verified).toEqual({ status: 0, stdout: '', stderr: '' });
    const said = await host.run(['systemd-analyze', 'security', '--no-pager', 'beacon-broker.service']);
    const [, exposure] = /Overall exposure level for beacon-broker[.]service: ([0-9.]+)/.exec(said) ?? [];
    expect(Number(exposure)).toBeLessThanOrEqual(MAX_EXPOSURE);

    // As far as a login that is refused, for want of a certificate.
    const ssh =
      '/usr/bin/ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null';
    const drop = `[Service]\nExecStartPre=-${ssh} nobody@127.0.0.1 true\n`;
    await host.write('/etc/systemd/system/beacon-broker.service.d/ssh.conf', drop);
    await host.run(['systemctl', 'daemon-reload']);
    await host.run(['systemctl', 'enable', '--now', 'beacon-broker']);
    const log = () => host.run(['journalctl', '-u', 'beacon-broker', '-o', 'cat']);
    expect(await log()).toMatch(/Permission denied/);
    const ready = await host.run(['curl', '-s', 'http://127.0.0.1:8444/readyz']);
    expect(JSON.parse(ready)).toMatchObject({ status: 'ok' });
    const shown = (name: string) =>
      host.run(['systemctl', 'show', '--property', name, '--value', 'beacon-broker']);
    const pid = (await shown('MainPID')).trim();
    const number = (await host.run(['id', '-u', 'beacon-broker'])).trim();
    expect(await host.run(['cat', `/proc/${pid}/status`])).toMatch(new RegExp(`^Uid:\\s+${number}\\s`, 'm'));
    const secrets = await host.run([
      'cat',
      '/etc/beacon-broker/keys/sealing',
      '/etc/beacon-broker/keys/service.jwk',
    ]);
    const told = `${await log()}${await host.run(['cat', `/proc/${pid}/environ`, `/proc/${pid}/cmdline`])}`;
    for (const secret of secrets.match(/[A-Za-z0-9_+/-]{43}/g) ?? []) expect(told).not.toContain(secret);

    await host.run(['systemctl', 'kill', '--kill-who=main', '--signal=KILL', 'beacon-broker']);
    await until(
      async () =>
        (await shown('NRestarts')).trim() === '1' && (await shown('ActiveState')).trim() === 'active',
    );
    await host.run(['systemctl', 'stop', 'beacon-broker']);
    expect(await log()).toContain('"msg":"stopping: no new runs are taken"');
    expect((await shown('Result')).trim()).toBe('success');
  }, 120_000);
});
