/** The broker's session with a real gate: its ssh, sshd, principals command, login's shell, sudo, gate, transient unit. */
import { execFile } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createDialer, type Dialer, type GateSession } from '@beacon/broker';
import type { GateEvent } from '@beacon/protocol/gate-event';
import { createSigner, generateKey } from '@beacon/ssh';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { GateHost } from '../lab/gate-host.ts';
import { GATE_PROCESS } from '../lab/init-host.ts';
import { Lab } from '../lab/lab.ts';
import { whyNoLab } from '../lab/possible.ts';
import { type Asked, type Certified, type CertifyOptions, invocation } from '../lab/throw-away-ca.ts';
import { certifyHost, NOTHING_REVOKED, obtainedOf } from './dial-certificate.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`the broker's sessions are left out: ${why}\n`);

(why === undefined ? describe : describe.skip)("a broker's session with a gate", () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-session-test-'));
  const temporary = join(folder, 'tmp');
  const lab = Lab.open(folder);
  const hostCa = generateKey('ssh-ed25519');
  let host: GateHost;
  let dialer: Dialer;

  beforeAll(async () => {
    mkdirSync(temporary);
    host = await GateHost.boot(lab, 'build-01');
    const line = await certifyHost(createSigner(hostCa.privateKey), 'build-01', host.target.hostKey);
    await host.lab.write('/etc/ssh/host-cert.pub', `${line}\n`);
    await host.lab.write(
      '/etc/ssh/sshd_config.d/91-certificate.conf',
      'HostCertificate /etc/ssh/host-cert.pub\n',
    );
    await host.lab.script('systemctl reload ssh');
    const plain = { summary: 'for a test', timeout_seconds: 30, run_as: 'beacon-setup' };
    const one = async (script: string, body: string, more: object = {}) => ({
      ...plain,
      argv: [await host.command(script, body)],
      ...more,
    });
    await host.allow({
      version: 1,
      commands: {
        greet: await one('greet', 'echo hello; echo aside >&2; exit 3'),
        again: await one('again', 'echo again'),
        flood: await one('flood', 'yes "a line of a flood" | head -c 6000000; echo >>/var/tmp/flooded', {
          max_output_bytes: 50_000_000,
        }),
        hang: await one('hang', 'echo started; sleep 4300', { undo: 'unhang' }),
        unhang: await one('unhang', 'echo unhung >>/var/tmp/trace'),
      },
    });
    await host.lab.script(
      'install -m 666 /dev/null /var/tmp/trace; install -m 666 /dev/null /var/tmp/flooded',
    );
    dialer = createDialer({ now: () => new Date(), random: Math.random, directory: temporary });
  }, 120_000);
  const opened: GateSession[] = [];
  afterEach(async () => {
    for (const session of opened.splice(0)) session.kill();
    for (let tries = 0; tries < 400 && (await gates()) > 0; tries++) await delay(50);
  });
  afterAll(async () => {
    await dialer.close();
    expect(readdirSync(temporary)).toEqual([]);
    await lab.down();
    rmSync(folder, { recursive: true, force: true });
  });

  const asking = (command: string, undo?: string): Asked => ({
    asked: invocation(command),
    ...(undo === undefined ? {} : { undo: invocation(undo) }),
  });
  const dial = async (certified: Certified, by = dialer, notes: string[] = []): Promise<GateSession> => {
    const session = await by.dial({
      obtained: obtainedOf(
        { ...certified, grant: certified.grant.grant },
        {
          id: 'build-01',
          address: host.target.address,
          port: 22,
          authorities: [hostCa.publicKey],
        },
      ),
      revokedHosts: NOTHING_REVOKED,
      onNote: (text) => notes.push(text),
    });
    opened.push(session);
    return session;
  };
  const open = async (commands: readonly Asked[], options?: CertifyOptions) => {
    const certified = await host.ca.certify(commands, options);
    return { certified, session: await dial(certified) };
  };
  const start = (session: GateSession, id: number, { asked, undo }: Asked) =>
    session.send({ kind: 'command', id, asked, ...(undo === undefined ? {} : { undo }) });
  /** Takes events up to the first of this kind. */
  const until = async (session: GateSession, kind: GateEvent['event']): Promise<GateEvent[]> => {
    const taken: GateEvent[] = [];
    for await (const event of session.events) {
      taken.push(event);
      if (event.event === kind) return taken;
    }
    throw new Error(
      `there was no ${kind}: ${JSON.stringify(taken.slice(-3))} ${JSON.stringify(await session.end)}`,
    );
  };
  const gates = async (): Promise<number> =>
    Number((await host.lab.exec(['pgrep', '-c', '-f', GATE_PROCESS])).stdout);
  /** This process's own ssh calls. */
  const clients = async (): Promise<{ pid: number; command: string }[]> => {
    const listed = await promisify(execFile)('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)]);
    return listed.stdout
      .split('\n')
      .filter((line) => line.includes('/usr/bin/ssh'))
      .map((line) => ({ pid: Number.parseInt(line, 10), command: line }));
  };

  test('tells what a command wrote and how it ended, and what the gate refuses', async () => {
    const [first, second] = [asking('greet'), asking('again')];
    const { certified, session } = await open([first]);
    expect(session.hello).toMatchObject({ host: 'build-01', grant: certified.grant.grant });
    await start(session, 1, first);
    const events = await until(session, 'exit');
    expect(events).toContainEqual({ event: 'stdout', id: 1, text: 'hello\n' });
    expect(events).toContainEqual({ event: 'stderr', id: 1, text: 'aside\n' });
    expect(events.at(-1)).toMatchObject({ event: 'exit', id: 1, code: 3 });
    await start(session, 2, second);
    expect((await until(session, 'refused')).at(-1)).toMatchObject({ id: 2, code: 'run-over' });
    session.kill();
    expect(await session.end).toMatchObject({ how: 'lost' });
  });

  test('replaces the grant by a later certificate of the same key', async () => {
    const [first, second] = [asking('again'), asking('again')];
    const { certified, session } = await open([first]);
    await start(session, 1, first);
    await until(session, 'exit');
    const later = await host.ca.certify([second], { key: certified.key });
    await session.send({ kind: 'certificate', id: 2, blob: later.blob });
    expect((await until(session, 'replaced')).at(-1)).toMatchObject({ grant: later.grant.grant });
    await start(session, 3, second);
    expect((await until(session, 'exit')).at(-1)).toMatchObject({ id: 3, code: 0 });
    await session.send({ kind: 'end', id: 4 });
    expect((await until(session, 'closed')).at(-1)).toMatchObject({ why: 'ended' });
    expect(await session.end).toEqual({ how: 'closed' });
    await expect(session.send({ kind: 'end', id: 5 })).rejects.toMatchObject({ code: 'session-lost' });
  });

  test('R6: lets a flood wait on the host while nobody takes it, and loses nothing', async () => {
    // Keys are exchanged anew meanwhile, when what ssh read at first is gone.
    const sshPath = join(folder, 'ssh');
    writeFileSync(sshPath, '#!/bin/sh\nexec /usr/bin/ssh -o RekeyLimit=1M "$@"\n', { mode: 0o755 });
    const rekeying = createDialer({
      now: () => new Date(),
      random: Math.random,
      directory: temporary,
      sshPath,
    });
    const flood = asking('flood');
    const session = await dial(await host.ca.certify([flood]), rekeying);
    await start(session, 1, flood);
    const before = process.memoryUsage().rss;
    await until(session, 'stdout');
    await delay(2_000);
    expect(await host.lab.run(['cat', '/var/tmp/flooded'])).toBe('');
    expect(process.memoryUsage().rss - before).toBeLessThan(60_000_000);
    let bytes = 0;
    for await (const event of session.events) {
      if (event.event === 'stdout') bytes += 'text' in event ? event.text.length : 0;
      if (event.event === 'exit') break;
    }
    // The first chunk was taken before.
    expect(bytes + 32_768).toBeGreaterThanOrEqual(6_000_000);
    expect(await host.lab.run(['cat', '/var/tmp/flooded'])).toBe('\n');
    await session.send({ kind: 'end', id: 2 });
    await until(session, 'closed');
    await rekeying.close();
  });

  test('R3, R4, R11: leaves nothing of this machine to ssh, offers one certificate, and no private key in any file', async () => {
    const home = join(folder, 'home');
    const trap = join(folder, 'trapped');
    mkdirSync(join(home, '.ssh'), { recursive: true });
    writeFileSync(join(home, '.ssh/config'), `Host *\n  ProxyCommand touch ${trap}\n`);
    const hang = asking('hang');
    const planted = { HOME: home, SSH_AUTH_SOCK: trap, PLANTED: 'yes' };
    const before = Object.keys(planted).map((name) => [name, process.env[name]] as const);
    Object.assign(process.env, planted);
    try {
      const { certified, session } = await open([hang]);
      const [client] = await clients();
      expect(readFileSync(`/proc/${client?.pid}/environ`, 'utf8')).toBe('');
      expect(client?.command).not.toContain(certified.grant.grant);
      // What ssh had to read is gone as soon as it has let us in.
      expect(readdirSync(temporary)).toEqual([]);
      const log = await host.sshdLog();
      const offers = log.split('\n').filter((line) => line.includes(certified.grant.grant));
      expect(offers.filter((line) => line.startsWith('Accepted publickey'))).toHaveLength(1);
      expect(log).not.toContain('Failed publickey');
      session.kill();
    } finally {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    }
    expect(readdirSync(folder)).not.toContain('trapped');
  });

  test('R5: gives each run a connection, a certificate and a gate of its own, at the same time too', async () => {
    const persons = ['github:1001', 'github:1002'] as const;
    const both = await Promise.all(persons.map((person) => open([asking('hang')], { grant: { person } })));
    expect(await clients()).toHaveLength(2);
    expect(await gates()).toBe(2);
    const log = await host.sshdLog();
    for (const { certified, session } of both) {
      const logins = log
        .split('\n')
        .filter((line) => line.startsWith('Accepted publickey') && line.includes(certified.grant.grant));
      expect(logins).toEqual([expect.stringContaining(`(serial ${certified.serial})`)]);
      expect(session.hello.grant).toBe(certified.grant.grant);
      session.kill();
    }
  });

  test('R12: opens no more connections to a host than its bound, and the next when one has ended', async () => {
    const few = createDialer({
      now: () => new Date(),
      random: Math.random,
      directory: temporary,
      maxPerHost: 2,
    });
    const notes: string[] = [];
    let most = 0;
    const one = async (): Promise<void> => {
      const command = asking('again');
      const session = await dial(await host.ca.certify([command]), few, notes);
      most = Math.max(most, (await clients()).length);
      await start(session, 1, command);
      await until(session, 'exit');
      await session.send({ kind: 'end', id: 2 });
      await until(session, 'closed');
    };
    await Promise.all(Array.from({ length: 5 }, one));
    expect(most).toBeLessThanOrEqual(2);
    expect(notes).toHaveLength(3);
    await few.close();
  });

  test('Q7: gets in although others keep the logins of the host to themselves for a while', async () => {
    await host.lab.write('/etc/ssh/sshd_config.d/00-few.conf', 'MaxStartups 1:100:1\nLoginGraceTime 3\n');
    await host.lab.script('systemctl reload ssh');
    const notes: string[] = [];
    try {
      await host.lab.exec([
        'bash',
        '-c',
        '(exec 3<>/dev/tcp/127.0.0.1/22; sleep 3) >/dev/null 2>&1 & sleep 0.3',
      ]);
      const command = asking('again');
      const session = await dial(await host.ca.certify([command]), dialer, notes);
      await start(session, 1, command);
      await until(session, 'exit');
      session.kill();
    } finally {
      await host.lab.script('rm /etc/ssh/sshd_config.d/00-few.conf; systemctl reload ssh');
    }
    expect(notes[0]).toContain('asked again');
  });

  test('says that the session is lost when ssh is killed, and the host takes back', async () => {
    const hang = asking('hang', 'unhang');
    const { session } = await open([hang]);
    await start(session, 1, hang);
    await until(session, 'stdout');
    const [client] = await clients();
    process.kill(client?.pid ?? 0, 'SIGKILL');
    const rest: GateEvent[] = [];
    for await (const event of session.events) rest.push(event);
    expect(await session.end).toEqual({ how: 'lost', reason: 'ssh was ended by SIGKILL' });
    await expect(session.send({ kind: 'end', id: 2 })).rejects.toMatchObject({ code: 'session-lost' });
    for (let tries = 0; tries < 800 && (await host.lab.run(['cat', '/var/tmp/trace'])) === ''; tries++)
      await delay(50);
    expect(await host.lab.run(['cat', '/var/tmp/trace'])).toBe('unhung\n');
  });

  test("says the gate's own word where the certificate has opened a session before, or was revoked", async () => {
    const { certified, session } = await open([asking('again')]);
    session.kill();
    await expect(dial(certified)).rejects.toMatchObject({ code: 'gate-refused', reason: 'certificate-used' });
    const late = await host.ca.certify([asking('again')]);
    await host.publish({ revoked: [late.serial] });
    await expect(dial(late)).rejects.toMatchObject({ code: 'certificate-refused' });
  });
});
