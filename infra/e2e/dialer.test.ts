/** The broker's way to a host, as OpenSSH's ssh and a real sshd on loopback have it; the gate behind it is another test's. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDialer, type Dialer, type DialerOptions } from '@beacon/broker';
import { createSigner, encodeKrl, formatPrivateKey, generateKey } from '@beacon/ssh';
import { afterAll, afterEach, describe, expect, test } from '@jest/globals';
import { freePort } from '../demo/free-port.ts';
import { certify, type DialTarget, NOTHING_REVOKED } from './dial-certificate.ts';
import { LOGIN, Sshd, type SshdOptions } from './sshd.ts';

const userCa = createSigner(generateKey('ssh-ed25519').privateKey);
const hostCa = createSigner(generateKey('ssh-ed25519').privateKey);
const strange = createSigner(generateKey('ssh-ed25519').privateKey);
const HELLO =
  '{\\"v\\":1,\\"event\\":\\"hello\\",\\"version\\":\\"1\\",\\"host\\":\\"build-01\\",\\"grant\\":\\"%s\\",\\"until\\":\\"x\\",\\"allowlist\\":\\"y\\",\\"head\\":{\\"seq\\":1,\\"hash\\":\\"%064d\\"}}\\n';

describe('the way to a host', () => {
  const folder = mkdtempSync(join(tmpdir(), 'beacon-dial-'));
  const toStop: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const stop of toStop.splice(0).reverse()) await stop();
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const dialer = (options: Partial<DialerOptions> = {}): Dialer => {
    const made = createDialer({
      now: () => new Date(),
      random: () => 0,
      connectTimeoutSeconds: 1,
      retries: 0,
      directory: folder,
      ...options,
    });
    toStop.push(() => made.close());
    return made;
  };
  const sshd = async (options: SshdOptions = {}, id = 'build-01'): Promise<Sshd> => {
    const started = await Sshd.start(id, hostCa, [userCa.publicKey], options);
    toStop.push(() => started.stop());
    return started;
  };
  const at = (port: number, more: Partial<DialTarget> = {}): DialTarget => ({
    id: 'build-01',
    address: '127.0.0.1',
    port,
    authorities: [hostCa.publicKey],
    ...more,
  });
  const dial = async (
    target: DialTarget,
    options: Partial<DialerOptions> = {},
    { ca = userCa, revokedHosts = NOTHING_REVOKED, notes = [] as string[] } = {},
  ) => {
    const obtained = await certify(ca, LOGIN, target);
    return dialer(options).dial({ obtained, revokedHosts, onNote: (text) => notes.push(text) });
  };
  const gateLike = (script: string): SshdOptions => ({ principalOptions: `restrict,command="${script}"` });
  const listen = async (greet: (socket: Socket) => void): Promise<number> => {
    const server = createServer(greet);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    toStop.push(() => new Promise((resolve) => server.close(resolve)));
    return (server.address() as AddressInfo).port;
  };

  /** Connects until sshd takes it, and never logs in. */
  const holdLogin = async (port: number): Promise<Socket> => {
    for (;;) {
      const socket = connect(port, '127.0.0.1').on('error', () => undefined);
      const said = await new Promise((resolve) => socket.once('data', (data) => resolve(data.toString())));
      if (String(said).startsWith('SSH-')) return socket;
      socket.destroy();
    }
  };

  test('says that nothing listens, that a name is unknown, and that nothing answers', async () => {
    const sockets: Socket[] = [];
    const silent = await listen((socket) => sockets.push(socket.on('error', () => undefined)));
    await expect(dial(at(await freePort()))).rejects.toMatchObject({
      code: 'host-unreachable',
      message: expect.stringContaining('nothing listens'),
    });
    await expect(dial(at(22, { address: 'no-such-host.invalid' }))).rejects.toMatchObject({
      code: 'host-unreachable',
      message: expect.stringContaining('name'),
    });
    await expect(dial(at(silent))).rejects.toMatchObject({
      code: 'host-unreachable',
      message: expect.stringContaining('says nothing'),
    });
    for (const socket of sockets) socket.destroy();
    await expect(dial(at(await freePort(), { address: '::1' }))).rejects.toMatchObject({
      message: expect.stringContaining('nothing listens'),
    });
    expect(readdirSync(folder)).toEqual([]);
  });

  test('says that there is no ssh', async () => {
    await expect(dial(at(22), { sshPath: '/nowhere/ssh' })).rejects.toMatchObject({ code: 'ssh-missing' });
    expect(readdirSync(folder)).toEqual([]);
  });

  test('R1: believes no host key without a certificate, of another CA, of another name, expired, or revoked', async () => {
    const refused = { code: 'host-key-untrusted' };
    const plain = await sshd({ hostCertificate: undefined });
    await expect(dial(at(plain.port))).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining('no host certificate'),
    });
    const good = await sshd();
    await expect(dial(at(good.port, { authorities: [strange.publicKey] }))).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining('our host CA'),
    });
    await expect(dial(at(good.port, { id: 'build-02' }))).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining('another host'),
    });
    const revokedHosts = encodeKrl({
      version: 2n,
      generated: new Date(),
      comment: 'test',
      authorities: [{ ca: hostCa.publicKey, serials: [{ first: 1n, last: 1n }], keyIds: [] }],
    });
    await expect(dial(at(good.port), {}, { revokedHosts })).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining('revoked'),
    });
    const old = await sshd({ hostCertificate: { from: -7200, until: -3600 } });
    await expect(dial(at(old.port))).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining('expired'),
    });
    const early = await sshd({ hostCertificate: { from: 3600, until: 7200 } });
    await expect(dial(at(early.port))).rejects.toMatchObject({ code: 'clock-skew' });
    for (const one of [plain, good, old, early]) expect(one.log).not.toContain('Accepted');
    expect(readdirSync(folder)).toEqual([]);
  });

  test('refuses to dial with a revocation list that is cut, and with a certificate that has ended', async () => {
    const target = at(await freePort());
    const cut = { revokedHosts: NOTHING_REVOKED.subarray(0, -41) };
    await expect(dial(target, {}, cut)).rejects.toMatchObject({ code: 'ca-refused' });
    await expect(dial(target, { now: () => new Date(Date.now() + 700_000) })).rejects.toMatchObject({
      code: 'certificate-refused',
    });
    await expect(dial(target, { now: () => new Date(Date.now() - 700_000) })).rejects.toMatchObject({
      code: 'clock-skew',
    });
  });

  test('R4: offers the certificate once and no plain key, and says that it was not taken', async () => {
    const host = await sshd({ configuration: ['LogLevel DEBUG1', 'MaxAuthTries 2'] });
    await expect(dial(at(host.port), {}, { ca: strange })).rejects.toMatchObject({
      code: 'certificate-refused',
      message: expect.stringContaining('does not take the certificate'),
    });
    const offered =
      host.log.match(/userauth-request for user \S+ service ssh-connection method publickey/g) ?? [];
    expect(offered).toHaveLength(1);
    expect(host.log).toMatch(/ED25519-CERT/);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('Q7: asks a host that is too busy to log in again, with pauses, and says so at the end', async () => {
    const host = await sshd({
      ...gateLike('exit 77'),
      configuration: ['MaxStartups 1:100:1', 'LoginGraceTime 30'],
    });
    const idle = await holdLogin(host.port);
    const notes: string[] = [];
    await expect(dial(at(host.port), { retries: 1 }, { notes })).rejects.toMatchObject({ code: 'host-busy' });
    expect(notes).toHaveLength(1);
    // With room again, the next try gets as far as a login, which leads to no gate here.
    const later = dial(at(host.port), { retries: 6 }, { notes });
    setTimeout(() => idle.destroy(), 400);
    await expect(later).rejects.toMatchObject({ code: 'gate-refused' });
    expect(notes.length).toBeGreaterThan(1);
  });

  test('says what a gate refuses by its own code, and that what answers is no gate', async () => {
    const refusal =
      '{\\"v\\":1,\\"event\\":\\"refused\\",\\"code\\":\\"stale-trust\\",\\"reason\\":\\"old\\"}\\n';
    const refusing = await sshd(gateLike(`printf '${refusal}'; exit 77`));
    await expect(dial(at(refusing.port))).rejects.toMatchObject({
      code: 'gate-refused',
      reason: 'stale-trust',
    });
    const busy = await sshd(
      gateLike(`printf '${refusal.replace('stale-trust', 'too-many-gates')}'; exit 75`),
    );
    const notes: string[] = [];
    await expect(dial(at(busy.port), { retries: 1 }, { notes })).rejects.toMatchObject({ code: 'gate-busy' });
    expect(notes).toHaveLength(1);
    const closed = await sshd(gateLike('exit 77'));
    await expect(dial(at(closed.port))).rejects.toMatchObject({ code: 'gate-refused' });
    for (const script of [
      'echo Welcome to this machine',
      `printf '${HELLO}' other 0`,
      'head -c 999999 /dev/zero',
    ]) {
      const strange = await sshd(gateLike(script));
      await expect(dial(at(strange.port))).rejects.toMatchObject({ code: 'gate-malformed' });
    }
  });

  test('R3, R11: uses no configuration, agent or key of the machine, and writes no private key anywhere', async () => {
    const home = join(folder, 'home');
    mkdirSync(join(home, '.ssh'), { recursive: true });
    const trap = join(folder, 'trapped');
    writeFileSync(
      join(home, '.ssh/config'),
      `Host *\n  ProxyCommand touch ${trap}\n  LocalCommand touch ${trap}\n  PermitLocalCommand yes\n  SendEnv *\n`,
    );
    const host = await sshd(gateLike(`env | grep -c PLANTED; printf '${HELLO}' never 0`));
    const before = { ...process.env };
    Object.assign(process.env, { HOME: home, SSH_AUTH_SOCK: trap, PLANTED: 'yes', SSH_ASKPASS: trap });
    try {
      await expect(dial(at(host.port))).rejects.toMatchObject({ code: 'gate-malformed' });
    } finally {
      for (const name of ['HOME', 'SSH_AUTH_SOCK', 'PLANTED', 'SSH_ASKPASS']) {
        if (before[name] === undefined) delete process.env[name];
        else process.env[name] = before[name];
      }
    }
    expect(host.log).toContain('Accepted publickey');
    expect(readdirSync(folder)).toEqual(['home']);
    rmSync(home, { recursive: true });
  });

  test('goes through a jump host, whose key and whose door are of their own', async () => {
    const own = generateKey('ssh-ed25519');
    const jump = await sshd({ authorizedKey: own.publicKey, hostCertificate: undefined }, 'jump-01');
    const host = await sshd(gateLike('exit 77'));
    const keyFile = join(folder, 'jump_key');
    const knownHostsFile = join(folder, 'jump_hosts');
    writeFileSync(keyFile, await formatPrivateKey(own.privateKey), { mode: 0o600 });
    const hop = (line: string) => {
      writeFileSync(knownHostsFile, `[127.0.0.1]:${jump.port} ${line}\n`);
      return {
        proxyJump: {
          address: '127.0.0.1',
          port: jump.port,
          login: LOGIN,
          identityFile: keyFile,
          knownHostsFile,
        },
      };
    };
    await expect(dial(at(host.port), hop(jump.hostKeyLine))).rejects.toMatchObject({ code: 'gate-refused' });
    expect(jump.log).toContain('Accepted publickey');
    expect(host.log).toContain('Accepted publickey');
    await expect(dial(at(host.port), hop(host.hostKeyLine))).rejects.toMatchObject({ code: 'jump-host' });
    await expect(dial(at(await freePort()), hop(jump.hostKeyLine))).rejects.toMatchObject({
      code: 'jump-host',
    });
  });

  test('leaves when it is told to, while it connects and while it waits for its turn', async () => {
    const sockets: Socket[] = [];
    const silent = await listen((socket) => sockets.push(socket.on('error', () => undefined)));
    const one = dialer({ maxPerHost: 1, connectTimeoutSeconds: 20 });
    const obtained = await certify(userCa, LOGIN, at(silent));
    const first = new AbortController();
    const second = new AbortController();
    const notes: string[] = [];
    const dials = [first, second].map(({ signal }) =>
      one.dial({ obtained, revokedHosts: NOTHING_REVOKED, signal, onNote: (text) => notes.push(text) }),
    );
    const ends = Promise.all(
      dials.map((dialling) => expect(dialling).rejects.toMatchObject({ code: 'aborted' })),
    );
    while (sockets.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    second.abort();
    first.abort();
    await ends;
    expect(notes).toEqual([expect.stringContaining('waiting: 1 connections to build-01')]);
    for (const socket of sockets) socket.destroy();
    expect(readdirSync(folder).filter((name) => name.startsWith('beacon-gate-'))).toEqual([]);
  });

  test('removes what a broker that was killed has left, and nothing else', () => {
    const left = join(folder, 'beacon-gate-4194304-abcdef');
    const others = join(folder, `beacon-gate-${process.ppid}-abcdef`);
    for (const one of [left, others]) mkdirSync(one);
    dialer();
    expect(readdirSync(folder)).toContain(`beacon-gate-${process.ppid}-abcdef`);
    expect(readdirSync(folder)).not.toContain('beacon-gate-4194304-abcdef');
  });
});
