/**
 * From nothing to three managed hosts, as the README tells it: a CA with TLS, a root key, a token for each machine, the
 * archive, `beacon host init`. Then a grant that opens one host alone, a revocation that reaches what runs, and another CA key.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CaApi } from '@beacon/client';
import { openPrivateKey } from '@beacon/ssh';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { packHost } from '../../scripts/build-host.ts';
import { programOf } from '../demo/checks.ts';
import { type Door, GateCaller } from '../demo/gate-caller.ts';
import { offerCommands } from '../demo/gate-stage.ts';
import { logIn } from '../demo/login.ts';
import { Stage } from '../demo/stage.ts';
import { makeRootKey, publishDrafted, publishRoot, succeed } from '../demo/trust-ceremony.ts';
import { GateConnection } from '../lab/gate-connection.ts';
import { Lab } from '../lab/lab.ts';
import type { LabHost } from '../lab/lab-host.ts';
import { whyNoLab } from '../lab/possible.ts';
import { type Asked, invocation, ThrowAwayCa } from '../lab/throw-away-ca.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`the walk through three hosts is left out: ${why}\n`);

const NAMES = ['site-01', 'site-02', 'site-03'] as const;
const ARCHIVE = '/mnt/beacon-host.tar';
const LIFETIME_SECONDS = 40;
const PROMISED_MS = 90_000;
const HOW = { timeout_seconds: 300, run_as: 'beacon-setup' };
const NAME = { name: { pattern: '[a-z][a-z0-9-]{0,30}' } };
const DEPLOY = { summary: 'Put a site in place', params: NAME, undo: 'site.withdraw', ...HOW };
const WITHDRAW = { summary: 'Take a site away', params: NAME, ...HOW };
const WATCH = { summary: 'Watch a site', params: NAME, ...HOW };
const command = (name: string): string => `/usr/lib/beacon/commands/${name}`;
/** What each host runs, in an order of the names. */
const ALLOWLISTS = [
  {
    'site.deploy': { ...DEPLOY, argv: [command('deploy'), '{name}'] },
    'site.withdraw': { ...WITHDRAW, argv: [command('withdraw'), '{name}'] },
    'site.watch': { ...WATCH, argv: [command('watch'), '{name}'] },
  },
  { 'site.withdraw': { ...WITHDRAW, argv: [command('withdraw'), '{name}'] } },
  {
    'site.withdraw': { ...WITHDRAW, argv: [command('withdraw'), '{name}'] },
    'site.watch': { ...WATCH, argv: [command('watch'), '{name}'] },
  },
] as const;

(why === undefined ? describe : describe.skip)('three machines', () => {
  const folder = mkdtempSync(join(tmpdir(), 'beacon-walkthrough-'));
  let lab: Lab | undefined;
  let stage: Stage;
  let api: CaApi;
  const hosts: LabHost[] = [];

  const at = (index: number): LabHost => {
    const host = hosts[index];
    if (host === undefined) throw new Error(`there is no host ${index}`);
    return host;
  };
  const caller = (index: number): GateCaller => {
    const door: Door = { target: at(index), login: 'beacon' };
    return new GateCaller(api, door, () => undefined);
  };
  const site = (verb: string, name: string, undo?: string): Asked => {
    const asked = invocation(`site.${verb}`, { name });
    return undo === undefined ? { asked } : { asked, undo: invocation(`site.${undo}`, { name }) };
  };
  const records = async (index: number, grant: string): Promise<string[]> => {
    const text = await at(index).run(['cat', '/var/lib/beacon/records/gate.ndjson']);
    return text.split('\n').filter((line) => line.includes(grant));
  };

  beforeAll(async () => {
    const archive = await packHost(folder, 'x64', { compress: false });
    lab = await Lab.temporary();
    stage = await Stage.open(undefined, {
      address: await lab.address(),
      prepare: async (caFolder, opened) => {
        offerCommands(caFolder);
        await makeRootKey(caFolder, opened);
      },
    });
    await logIn(stage, 'ada');
    await publishRoot(stage, 'ada');
    const binds = { [ARCHIVE]: archive.file };
    for (const name of NAMES) hosts.push((await lab.boot(name, { binds })).host);
    api = await programOf(stage, 'lin');
  }, 300_000);
  afterAll(async () => {
    await stage?.close();
    await lab?.down();
    rmSync(folder, { recursive: true, force: true });
  }, 180_000);

  test.each(NAMES)('become hosts by the archive and a token: %s', async (name) => {
    const index = NAMES.indexOf(name);
    const host = at(index);
    const made = ['ca', 'host', 'token', name, '--address', host.address, '--pool', 'sites'];
    const token = succeed(await stage.beacon('ada', made));
    await host.write('/root/token', token, { mode: 0o600 });
    const authority = readFileSync(stage.tlsAuthority ?? '');
    await host.write('/etc/ssl/certs/example.pem', authority);
    await host.script(`
      ln -s example.pem "/etc/ssl/certs/$(openssl x509 -hash -noout -in /etc/ssl/certs/example.pem).0"
      mkdir /opt/beacon-host
      tar -xf ${ARCHIVE} -C /opt/beacon-host --strip-components=1
      /opt/beacon-host/beacon host init --id ${name} --ca ${stage.caUrl} --token-file /root/token
    `);
    await host.write(command('deploy'), '#!/bin/sh\necho "$1 is live as $(id -un)"\n', { mode: 0o755 });
    await host.write(command('withdraw'), '#!/bin/sh\necho "$1 is gone"\n', { mode: 0o755 });
    await host.write(command('watch'), '#!/bin/sh\necho "watching $1"\nexec sleep 4242\n', { mode: 0o755 });
    const allowlist = JSON.stringify({ version: 1, commands: ALLOWLISTS[index] });
    await host.write('/etc/beacon/allowlist.json', allowlist);
    expect(await host.script('/usr/lib/beacon/beacon host check')).not.toContain('DEFECT');
  });

  test('a grant for one host runs there, and sshd of the others refuses it, each in its own words', async () => {
    const first = caller(0);
    const deploy = site('deploy', 'shop', 'withdraw');
    const held = await first.ask([deploy], LIFETIME_SECONDS);
    for (const other of [1, 2]) {
      const elsewhere = await first.connect(held, { target: at(other), login: 'beacon' });
      expect(await elsewhere.ended).toBe(255);
      expect(elsewhere.events).toEqual([]);
      const said = await at(other).run(['journalctl', '--unit=ssh', '--output=cat']);
      expect(said).toContain('Certificate does not contain an authorized principal');
    }
    const connection = await first.connect(held);
    expect(await connection.run(deploy)).toMatchObject({ event: 'exit', code: 0 });
    expect(connection.output()).toBe('shop is live as beacon-setup\n');
    expect(await connection.end()).toBe(0);
    expect((await records(0, held.obtained.grant)).join()).toContain('command-ended');
  });

  test("a command that a host's own list lacks is refused by its gate, though CA and policy grant it", async () => {
    const second = caller(1);
    const deploy = site('deploy', 'shop', 'withdraw');
    const held = await second.ask([deploy], LIFETIME_SECONDS);
    const connection = await second.connect(held);
    expect(await connection.run(deploy)).toMatchObject({ event: 'refused', code: 'command-not-allowed' });
    await connection.end();
    expect((await records(1, held.obtained.grant)).join()).toContain('command-not-allowed');
  });

  test('K8: a revocation at the CA reaches a command that runs, by the timer alone, within 90 seconds', async () => {
    const first = caller(0);
    const watch = site('watch', 'shop');
    const held = await first.ask([watch], 600);
    const connection = await first.connect(held);
    const exit = connection.run(watch);
    await connection.says('watching shop');
    succeed(await stage.beacon('ada', ['revoke', '--grant', held.obtained.grant, '--reason', 'a test']));
    const begin = performance.now();
    const ended = await Promise.race([exit, sleep(PROMISED_MS, undefined, { ref: false })]);
    const seconds = ((performance.now() - begin) / 1000).toFixed(1);
    process.stderr.write(`a revocation reached the command after ${seconds} s\n`);
    expect(ended).toMatchObject({ event: 'exit', why: 'revoked' });
    await connection.ended;
    expect(await at(0).script('pgrep -f "^sleep 4242$" || echo nothing')).toBe('nothing\n');
  }, 150_000);

  describe('and another key of the user CA', () => {
    const sync = (index: number) => at(index).run(['/usr/lib/beacon/beacon', 'host', 'sync']);
    const rotate = (...words: string[]) => stage.beacon('ada', ['ca', 'rotate', ...words]);
    const key = (name: string): string => join(stage.folder, 'ca', 'keys', name);

    let stolen = 2n ** 40n;
    /** What a thief of the first key can make himself: good for a host, whoever grants it. */
    const opensWithStolen = async (index: number): Promise<boolean> => {
      const passphrase = readFileSync(key('passphrase'), 'utf8').trim();
      const { signer } = await openPrivateKey(readFileSync(key('user_ca'), 'utf8'), passphrase);
      const thief = new ThrowAwayCa({ host: at(index).name, login: 'beacon' }, () => new Date());
      const certified = await thief.certify([], { signer, fields: { serial: stolen++ } });
      const connection = await GateConnection.open(at(index), certified);
      const isIn = await connection.hello().then(
        () => true,
        () => false,
      );
      await connection.kill();
      return isIn;
    };
    /** Nobody who is right is refused, whichever key signs. */
    const everyHostRuns = async (): Promise<void> => {
      for (const index of NAMES.keys()) {
        const withdraw = site('withdraw', 'shop');
        const one = caller(index);
        const connection = await one.connect(await one.ask([withdraw], LIFETIME_SECONDS));
        expect(await connection.run(withdraw)).toMatchObject({ event: 'exit', code: 0 });
        expect(await connection.end()).toBe(0);
      }
    };

    test('B13: takes over host by host, is refused while one lacks it, and the former opens nothing after it', async () => {
      for (const host of hosts) await host.run(['systemctl', 'stop', 'beacon-host-sync.timer']);
      for (const index of NAMES.keys()) expect(await opensWithStolen(index)).toBe(true);

      const root = join(stage.folder, 'root-2.json');
      const config = ['--config', stage.caConfiguration];
      const made = ['--for', 'user', '--passphrase-file', key('passphrase'), '--out', root];
      succeed(
        await stage.beacon('operator', ['ca', 'rotate', 'prepare', key('user_ca_2'), ...made, ...config]),
      );
      const text = readFileSync(stage.caConfiguration, 'utf8');
      const next = `  user_ca_next: { file: ${key('user_ca_2')}, passphrase_file: ${key('passphrase')} }`;
      writeFileSync(
        stage.caConfiguration,
        text.replace(/^ {2}user_ca: .*$/m, (line) => `${line}\n${next}`),
      );
      await stage.restart();
      await publishDrafted(stage, 'ada', root);
      await everyHostRuns();

      await sync(0);
      await sync(1);
      const activate = ['activate', key('user_ca_2.pub'), '--reason', 'a test'];
      const early = await rotate(...activate);
      expect(early).toMatchObject({ status: 75, stdout: '' });
      expect(early.stderr).toContain('site-03');
      expect(early.stderr).not.toMatch(/site-0[12]/);
      await everyHostRuns();

      await sync(2);
      succeed(await rotate(...activate));
      await everyHostRuns();
      for (const index of NAMES.keys()) expect(await opensWithStolen(index)).toBe(true);

      const last = join(stage.folder, 'root-3.json');
      const retire = async () => {
        const drafted = await stage.beacon('operator', ['ca', 'rotate', 'retire', '--out', last, ...config]);
        return drafted;
      };
      const tooEarly = await retire();
      expect(tooEarly.status).not.toBe(0);
      for (let outcome = tooEarly; outcome.status !== 0; outcome = await retire()) await sleep(5_000);
      await publishDrafted(stage, 'ada', last);
      for (const index of NAMES.keys()) await sync(index);
      await everyHostRuns();
      for (const index of NAMES.keys()) expect(await opensWithStolen(index)).toBe(false);
      for (const host of hosts) await host.run(['systemctl', 'start', 'beacon-host-sync.timer']);
    }, 360_000);
  });
});
