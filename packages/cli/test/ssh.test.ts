import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type Knobs, type SmallCa, startSmallCa } from '../../client/test/small-ca.ts';
import { createHome, type Home } from './command.ts';
import { type RealSshd, startSshd } from './real-sshd.ts';

describe('beacon ssh', () => {
  let ca: SmallCa;
  let sshd: RealSshd;
  let uncertified: RealSshd;
  let home: Home;
  let target: string;
  let usual: Knobs;
  const left = () => readdirSync(home.directory).filter((name) => name.startsWith('beacon-'));

  beforeAll(async () => {
    ca = await startSmallCa();
    sshd = await startSshd({ hostId: 'build-01', userCa: ca.userCa, hostCa: ca.hostCa });
    uncertified = await startSshd({
      hostId: 'plain',
      userCa: ca.userCa,
      hostCa: ca.hostCa,
      hostCertificate: false,
    });
    const { login } = sshd;
    ca.knobs.hosts = [
      { id: 'build-01', address: '127.0.0.1', port: sshd.port, logins: [login] },
      // The same machine under another id: its host certificate is for build-01.
      { id: 'build-02', address: '127.0.0.1', port: sshd.port, logins: [login] },
      { id: 'plain', address: '127.0.0.1', port: uncertified.port, logins: [login] },
      { id: 'many', address: '127.0.0.1', port: sshd.port, logins: ['deploy', 'root'] },
      { id: 'gone', address: '127.0.0.1', port: 1, logins: [login] },
    ];
    usual = { ...ca.knobs };
    target = `${login}@build-01`;
    home = createHome();
    expect((await home.run(['login', ca.url])).status).toBe(0);
  });
  beforeEach(() => {
    Object.assign(ca.knobs, usual);
  });
  afterAll(async () => {
    await sshd?.stop();
    await uncertified?.stop();
    await ca?.close();
    home?.remove();
  });

  it('runs a command on a host that trusts nothing but the CA, and leaves nothing behind', async () => {
    const result = await home.run(['ssh', target, '--', 'echo', 'hello']);
    expect(result).toEqual({ status: 0, stdout: 'hello\n', stderr: '' });
    expect(left()).toEqual([]);
    expect(sshd.log()).toMatch(
      /Accepted publickey for \S+ .* ID beacon\/[0-9a-z]{26}\/github:583231 \(serial \d+\)/,
    );
  });

  it('takes the only login of a host by default, and passes status, stdin and stderr on', async () => {
    const command = 'cat; echo talk >&2; exit 42';
    const result = await home.run(['ssh', 'build-01', command], { stdin: 'sent in' });
    expect(result).toEqual({ status: 42, stdout: 'sent in', stderr: 'talk\n' });
  });

  it('does not take options of the command for its own', async () => {
    expect(await home.run(['ssh', target, 'echo', '-v', '--json'])).toMatchObject({
      status: 0,
      stdout: '-v --json\n',
    });
    expect(await home.run(['ssh', target, '--', 'echo', '--', '-T'])).toMatchObject({ stdout: '-- -T\n' });
  });

  it('asks which login is meant where there are several', async () => {
    const result = await home.run(['ssh', 'many', 'true']);
    expect(result).toMatchObject({ status: 255, stdout: '' });
    expect(result.stderr).toContain('deploy@many, root@many');
  });

  it('R1: refuses a host without a certificate, and one that is certified under another name', async () => {
    for (const id of ['plain', 'build-02']) {
      const result = await home.run(['ssh', id, 'true']);
      expect(result.status).toBe(255);
      expect(result.stderr).toMatch(
        /no matching host key type|Host key verification failed|Certificate invalid/,
      );
    }
  });

  it('R3: uses neither the agent, nor the configuration, nor the known hosts of the person', async () => {
    const ssh = join(home.directory, '.ssh');
    mkdirSync(ssh, { mode: 0o700, recursive: true });
    const ran = join(home.directory, 'ran');
    writeFileSync(
      join(ssh, 'config'),
      `Host *\n  ProxyCommand touch ${ran}\n  User nobody\n  IdentityFile ${ssh}/id\n`,
    );
    writeFileSync(join(ssh, 'known_hosts'), 'build-01 ssh-ed25519 AAAA\n');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(ssh, 'id_ed25519')]);
    const offered = sshd.log().length;
    const result = await home.run(['ssh', 'build-01', 'echo ok; echo agent=$SSH_AUTH_SOCK'], {
      environment: { SSH_AUTH_SOCK: '/nonexistent/agent' },
    });
    expect(result).toEqual({ status: 0, stdout: 'ok\nagent=\n', stderr: '' });
    expect(existsSync(ran)).toBe(false);
    expect(sshd.log().slice(offered)).not.toContain('Failed publickey');
  });

  it('R4: offers the certificate and never the plain key', async () => {
    const result = await home.run(['ssh', '--ssh-option', 'LogLevel=DEBUG1', 'build-01', 'true']);
    const offers = result.stderr.match(/Offering public key: .*/g) ?? [];
    expect(offers).toHaveLength(1);
    expect(offers[0]).toContain('ED25519-CERT');
  });

  it('refuses ssh options that would change whom we trust', async () => {
    for (const option of [
      'StrictHostKeyChecking=no',
      'userknownhostsfile /dev/null',
      'HostKeyAlias=x',
      'Port=22',
    ]) {
      const result = await home.run(['ssh', '--ssh-option', option, 'build-01', 'true']);
      expect(result.status).toBe(255);
      expect(result.stderr).toContain('cannot be changed');
    }
  });

  it('reads a configuration that is named, without letting it weaken the rest', async () => {
    const file = join(home.directory, 'ssh_config');
    writeFileSync(file, 'Host *\n  StrictHostKeyChecking no\n  SetEnv A=b\n  HostName 192.0.2.1\n');
    const result = await home.run(['ssh', '--config', file, 'build-01', 'true']);
    expect(result).toMatchObject({ status: 0, stderr: '' });
  });

  it('says why it was denied, and what is missing', async () => {
    const missing = [
      { kind: 'team', id: '7' },
      { kind: 'lifetime', longest_seconds: 60 },
    ];
    ca.knobs.denials = { 'build-01': { code: 'not-permitted', detail: 'no policy permits it', missing } };
    const result = await home.run(['ssh', 'build-01', 'true']);
    expect(result).toMatchObject({ status: 255, stdout: '' });
    expect(result.stderr).toContain('no policy permits it');
    expect(result.stderr).toContain('missing: membership in the team 7');
    expect(result.stderr).toContain('missing: a shorter lifetime, at most 60 s');
  });

  it("says ssh's own words when nobody listens, and returns 255", async () => {
    const result = await home.run(['ssh', 'gone', 'true']);
    expect(result.status).toBe(255);
    expect(result.stderr).toContain('Connection refused');
  });

  it('gives a terminal only where policy does', async () => {
    expect(await home.run(['ssh', '-t', 'build-01', 'test -t 0 && echo terminal'])).toMatchObject({
      stdout: 'terminal\r\n',
    });
    ca.knobs.extensions = {};
    const result = await home.run(['ssh', '-t', 'build-01', 'true']);
    expect(result).toMatchObject({ status: 255, stderr: expect.stringContaining('permit-pty') });
    expect(await home.run(['ssh', 'build-01', 'true'])).toEqual({ status: 0, stdout: '', stderr: '' });
  });

  it('asks for the lifetime that is named, within its bounds', async () => {
    await home.run(['ssh', '--lifetime', '2m', 'build-01', 'true']);
    expect(ca.bodies.at(-1)).toMatchObject({ lifetime_seconds: 120 });
    for (const lifetime of ['29', '61m']) {
      expect(await home.run(['ssh', '--lifetime', lifetime, 'build-01', 'true'])).toMatchObject({
        status: 255,
      });
    }
  });

  it('A2: refuses names that are none before it asks anybody', async () => {
    const asked = ca.requests.length;
    for (const name of [
      '-oProxyCommand=x',
      'a b',
      'A',
      'x@',
      '@build-01',
      'root;id@build-01',
      'build-01\n',
      'a,b',
    ]) {
      expect((await home.run(['ssh', '--', name])).status).toBe(255);
    }
    expect(ca.requests.length).toBe(asked);
  });

  it("uses the person's own key from a file, with its passphrase asked on the terminal alone", async () => {
    for (const type of ['ed25519', 'ecdsa', 'rsa']) {
      const key = join(home.directory, `id_${type}`);
      execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-f', key]);
      expect(await home.run(['ssh', '-i', key, 'build-01', 'echo ok'])).toMatchObject({
        status: 0,
        stdout: 'ok\n',
      });
      const [words] = readFileSync(`${key}.pub`, 'utf8').split(/ [^ ]*\n$/);
      expect(ca.bodies.at(-1)).toMatchObject({ public_key: words });
    }
    const locked = join(home.directory, 'id_locked');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'a passphrase', '-f', locked]);
    // A session of its own has no terminal to ask on, and a passphrase on stdin is not taken.
    const child = spawn(
      'setsid',
      ['-w', process.execPath, ...home.command(['ssh', '-i', locked, 'build-01', 'true'])],
      {
        env: home.environment,
      },
    );
    let said = '';
    child.stderr.on('data', (text) => {
      said += text;
    });
    child.stdin.end('a passphrase\n');
    const [status] = await once(child, 'close');
    expect(status).toBe(255);
    expect(said).toContain('no terminal to ask');
  });

  it("uses a key of the person's agent by its public half", async () => {
    const socket = join(home.directory, 'own-agent');
    const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' });
    try {
      while (!existsSync(socket)) await wait(20);
      const environment = { SSH_AUTH_SOCK: socket };
      for (const type of ['ed25519', 'rsa']) {
        const key = join(home.directory, `agent_${type}`);
        execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-f', key]);
        const without = await home.run(['ssh', '-i', `${key}.pub`, 'build-01', 'true'], { environment });
        expect(without).toMatchObject({
          status: 255,
          stderr: expect.stringContaining('does not hold this key'),
        });
        execFileSync('ssh-add', ['-q', key], { env: { ...process.env, ...environment } });
        const result = await home.run(['ssh', '-i', `${key}.pub`, 'build-01', 'echo ok'], { environment });
        expect(result).toMatchObject({ status: 0, stdout: 'ok\n' });
      }
    } finally {
      agent.kill();
    }
  });

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('passes %s on to ssh and tidies up', async (signal) => {
    const running = home.start(['ssh', 'build-01', 'echo started; sleep 60']);
    for (let turn = 0; turn < 2_000 && left().length < 2; turn++) await wait(25);
    expect(left()).toHaveLength(2);
    for (const name of left()) {
      const mode = execFileSync('stat', ['-c', '%a', join(home.directory, name)])
        .toString()
        .trim();
      expect(mode).toBe('700');
      for (const file of readdirSync(join(home.directory, name))) {
        expect(readFileIfPlain(join(home.directory, name, file))).not.toContain('PRIVATE KEY');
      }
    }
    for (let turn = 0; turn < 2_000 && running.said() === ''; turn++) await wait(25);
    running.kill(signal);
    const { status, stdout } = await running.result;
    expect(stdout).toBe('started\n');
    expect(status === 255 || (status ?? 0) > 128).toBe(true);
    expect(left()).toEqual([]);
  });

  it('says that ssh is missing', async () => {
    const result = await home.run(['ssh', 'build-01', 'true'], { environment: { PATH: '/nonexistent' } });
    expect(result).toMatchObject({
      status: 255,
      stderr: expect.stringContaining('install the OpenSSH client'),
    });
    expect(left()).toEqual([]);
  });

  it('says that nobody is logged in', async () => {
    const stranger = createHome();
    const result = await stranger.run(['ssh', 'build-01', 'true']);
    expect(result).toEqual({
      status: 255,
      stdout: '',
      stderr: 'beacon: you are not logged in\nLog in with: beacon login\n',
    });
    stranger.remove();
  });

  it('I11: refuses a session that others may read', async () => {
    chmodSync(home.session, 0o640);
    const result = await home.run(['ssh', 'build-01', 'true']);
    chmodSync(home.session, 0o600);
    expect(result).toMatchObject({ status: 255, stderr: expect.stringContaining('has mode 640') });
  });
});

function readFileIfPlain(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
