import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type Knobs, type SmallCa, startSmallCa } from '../../client/test/small-ca.ts';
import { createHome, type Home, type Result } from './command.ts';
import { type RealSshd, startSshd } from './real-sshd.ts';

const mode = (file: string) => (statSync(file).mode & 0o777).toString(8);

describe('beacon ssh-config', () => {
  let ca: SmallCa;
  let sshd: RealSshd;
  let home: Home;
  let usual: Knobs;
  let configuration: string;
  const issued = () => ca.requests.filter((request) => request === 'POST /v1/certificates').length;
  const own = () => join(home.state, 'ssh', `${sshd.login}@build-01`);

  /** A program of OpenSSH with the printed configuration, and not this machine's agent or files. */
  const run = (program: string, args: readonly string[]) =>
    new Promise<Result>((resolve, reject) => {
      const child = spawn(program, ['-F', configuration, ...args], { env: home.environment, stdio: 'pipe' });
      let stdout = '';
      let stderr = '';
      child.stdout.on('data', (text) => {
        stdout += text;
      });
      child.stderr.on('data', (text) => {
        stderr += text;
      });
      child.once('error', reject);
      child.once('close', (status) => resolve({ status, stdout, stderr }));
      child.stdin.end();
    });

  beforeAll(async () => {
    ca = await startSmallCa();
    sshd = await startSshd({ hostId: 'build-01', userCa: ca.userCa, hostCa: ca.hostCa });
    ca.knobs.hosts = [
      { id: 'build-01', address: '127.0.0.1', port: sshd.port, logins: [sshd.login] },
      { id: 'many', address: '127.0.0.1', port: sshd.port, logins: ['deploy', 'ops'] },
    ];
    usual = { ...ca.knobs };
    home = createHome();
    configuration = join(home.directory, 'beacon_config');
    expect((await home.run(['login', ca.url])).status).toBe(0);
    const { status, stdout } = await home.run(['ssh-config']);
    expect(status).toBe(0);
    writeFileSync(configuration, stdout);
  });
  beforeEach(() => {
    Object.assign(ca.knobs, usual);
  });
  afterAll(async () => {
    await sshd?.stop();
    await ca?.close();
    home?.remove();
  });

  it('lets plain ssh log in, with one certificate for many calls', async () => {
    expect(await run('ssh', ['build-01', 'echo', 'hello'])).toEqual({
      status: 0,
      stdout: 'hello\n',
      stderr: '',
    });
    expect(issued()).toBe(1);
    expect(await run('ssh', [`${sshd.login}@build-01`, 'exit 3'])).toMatchObject({ status: 3, stderr: '' });
    expect(issued()).toBe(1);
    expect(ca.bodies.at(-1)).toMatchObject({ host: 'build-01', login: sshd.login, lifetime_seconds: 300 });
  });

  it('lets scp and sftp copy files', async () => {
    const from = join(home.directory, 'from');
    const to = join(home.directory, 'to');
    writeFileSync(from, 'content');
    expect(await run('scp', ['-q', from, `build-01:${to}`])).toMatchObject({ status: 0, stderr: '' });
    expect(readFileSync(to, 'utf8')).toBe('content');
    expect(await run('scp', ['-q', `build-01:${to}`, `${from}2`])).toMatchObject({ status: 0 });
    expect(readFileSync(`${from}2`, 'utf8')).toBe('content');
  });

  it('I11: keeps key and certificate at 0600 in directories of 0700', () => {
    const [directory = ''] = readdirSync(own());
    expect(mode(join(home.state, 'ssh'))).toBe('700');
    expect(mode(own())).toBe('700');
    expect(mode(join(own(), directory))).toBe('700');
    const files = ['key', 'key-cert.pub', 'known_hosts', 'revoked_hosts'];
    expect(readdirSync(join(own(), directory)).sort()).toEqual(files);
    for (const file of files) expect(mode(join(own(), directory, file))).toBe('600');
  });

  it('I11: asks for another certificate before the last one ends, and removes what has ended', async () => {
    const file = `${own()}.conf`;
    const [before = ''] = readdirSync(own());
    execFileSync('mv', [join(own(), before), join(own(), `1000-${before.split('-')[1]}`)]);
    writeFileSync(
      file,
      readFileSync(file, 'utf8').replace(/until .*/, `until ${new Date(Date.now() + 20_000).toISOString()}`),
    );
    expect(await run('ssh', ['build-01', 'echo', 'again'])).toMatchObject({ status: 0, stdout: 'again\n' });
    expect(issued()).toBe(2);
    expect(readdirSync(own())).toHaveLength(1);
    expect(readdirSync(own())).not.toContain(`1000-${before.split('-')[1]}`);
  });

  it('asks once for many that begin at the same time', async () => {
    const count = issued();
    writeFileSync(`${own()}.conf`, '# valid until 2000-01-01T00:00:00.000Z\n', { mode: 0o600 });
    const results = await Promise.all(Array.from({ length: 4 }, () => run('ssh', ['build-01', 'echo ok'])));
    expect(results.map(({ stdout }) => stdout)).toEqual(Array(4).fill('ok\n'));
    expect(issued()).toBe(count + 1);
  });

  it('has a block for each login of a host, and no name from the command line in a shell', () => {
    const text = readFileSync(configuration, 'utf8');
    expect(text).toMatch(/Match originalhost many user deploy exec ".*--refresh deploy@many"/);
    expect(text).toMatch(/Match originalhost many user ops exec ".*--refresh ops@many"/);
    expect(text).not.toMatch(/%[hrn]/);
  });

  it('leads nowhere without a certificate: no other key is offered and nothing is dialled', async () => {
    ca.knobs.denials = { many: { code: 'no-permit', detail: 'nothing permits it', missing: [] } };
    const result = await run('ssh', ['-v', 'deploy@many', 'true']);
    expect(result.status).toBe(255);
    expect(result.stderr).toContain('nothing permits it');
    expect(result.stderr).toContain('beacon-has-no-certificate.invalid');
    expect(result.stderr).not.toContain('Offering public key');
    const stranger = await run('ssh', ['somebody@build-01', 'true']);
    expect(stranger).toMatchObject({
      status: 255,
      stderr: expect.stringContaining('beacon-has-no-certificate'),
    });
  });

  it('says which host it does not know', async () => {
    expect(await home.run(['ssh-config', 'nowhere'])).toMatchObject({ status: 66, stdout: '' });
    expect((await home.run(['ssh-config', 'many'])).stdout).not.toContain('build-01');
  });

  it('log-out takes the keys away', async () => {
    expect((await home.run(['logout'])).status).toBe(0);
    expect(existsSync(join(home.state, 'ssh'))).toBe(false);
    const result = await run('ssh', ['build-01', 'true']);
    expect(result).toMatchObject({ status: 255, stderr: expect.stringContaining('beacon login') });
  });
});
