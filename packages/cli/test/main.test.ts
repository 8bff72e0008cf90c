import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { requirePosix } from '../src/context.ts';
import { createHome, type Home } from './command.ts';

const PACKAGE = join(import.meta.dirname, '..');

describe('the command', () => {
  let home: Home;

  beforeAll(() => {
    home = createHome();
  });
  afterAll(() => home.remove());

  it('says its version', async () => {
    const { version } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'));
    expect(await home.run(['--version'])).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  it.each([
    [['nonsense'], 64, "unknown command 'nonsense'"],
    [['logni'], 64, 'Did you mean login?'],
    [['ca', 'host', 'ad'], 64, 'Did you mean add?'],
    [['whoami', '--jsno'], 64, 'Did you mean --json?'],
    [['completion', 'tcsh'], 64, 'bash, zsh or fish'],
    [['policy', 'explain'], 64, '--host'],
    [['records', 'tail', '-n', 'x'], 64, 'whole number'],
    [['ssh'], 255, "missing required argument 'target'"],
    [['ssh', '--nonsense', 'build-01'], 255, '--nonsense'],
    [['whoami'], 77, 'beacon login'],
    [['ca', 'host', 'list'], 77, 'beacon login'],
    [['ssh', 'build-01'], 255, 'beacon login'],
    [['ca', 'serve', '--config', '/nonexistent/ca.yaml'], 64, '/nonexistent/ca.yaml'],
    [['records', 'verify', '--store', '/nonexistent/ca.db'], 66, 'no /nonexistent/ca.db'],
  ])('%p ends with %p', async (args, status, said) => {
    const result = await home.run(args);
    expect(result).toMatchObject({ status, stdout: '' });
    expect(result.stderr).toContain(said);
  });

  it('prints help on stdout, with every default', async () => {
    const result = await home.run(['ssh', '--help']);
    expect(result).toMatchObject({ status: 0, stderr: '' });
    expect(result.stdout).toMatch(/--lifetime <time>[^-]*\(default:\s+"15m"\)/);
  });

  it("hands what is done on the CA's machine on whole", async () => {
    const result = await home.run(['ca', 'init', '--help']);
    expect(result).toMatchObject({ status: 0, stdout: expect.stringContaining('beacon ca init') });
    expect(result.stdout).toContain('session.max_hours');
  });

  it('sends people on Windows to WSL', () => {
    expect(() => requirePosix('win32')).toThrow(expect.objectContaining({ code: 'not-supported-here' }));
    expect(() => requirePosix('win32')).toThrow('WSL');
    expect(() => requirePosix('darwin')).not.toThrow();
  });

  it('has a way in that runs before the build and on an old node, and says what is missing', () => {
    const way = readFileSync(join(PACKAGE, 'bin', 'beacon.js'), 'utf8');
    expect(way).toMatch(/^#!\/usr\/bin\/env node\n/);
    const directory = mkdtempSync(join(tmpdir(), 'beacon-bin-'));
    execFileSync('mkdir', ['-p', join(directory, 'bin')]);
    writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
    writeFileSync(join(directory, 'bin', 'beacon.js'), way);
    const { status, stderr } = spawnSync(process.execPath, [join(directory, 'bin', 'beacon.js')], {
      encoding: 'utf8',
    });
    rmSync(directory, { recursive: true });
    expect({ status, stderr }).toEqual({ status: 70, stderr: 'beacon: not built yet: run npm run build\n' });
  });
});

describe('completion', () => {
  let home: Home;
  let directory: string;

  beforeAll(() => {
    home = createHome();
    directory = mkdtempSync(join(tmpdir(), 'beacon-completion-'));
  });
  afterAll(() => {
    home.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  it('completes commands and options in bash', async () => {
    const script = join(directory, 'beacon.bash');
    writeFileSync(script, (await home.run(['completion', 'bash'])).stdout);
    const complete = (line: string) => {
      const ask = `source ${script}; COMP_WORDS=(${line} ""); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _beacon; echo "\${COMPREPLY[@]}"`;
      return execFileSync('bash', ['-c', ask], { encoding: 'utf8' }).trim().split(' ');
    };
    expect(complete('beacon')).toEqual(
      expect.arrayContaining(['login', 'ssh', 'ssh-config', 'ca', 'revoke', '--version']),
    );
    expect(complete('beacon ca host')).toEqual(
      expect.arrayContaining(['add', 'list', 'token', 'disable', 'enable']),
    );
    expect(complete('beacon ca host add')).toEqual(expect.arrayContaining(['--address', '--host-key']));
    expect(complete('beacon records verify')).toEqual(['--store', '--config', '--anchor', '--json']);
    expect(complete('beacon ssh build-01')).toContain('--lifetime');
  });

  it.each(['zsh', 'fish'])('writes a script that %s can read', async (shell) => {
    const { stdout, status } = await home.run(['completion', shell]);
    expect(status).toBe(0);
    for (const word of ['ssh-config', 'explain', 'host-key']) expect(stdout).toContain(word);
    const script = join(directory, `beacon.${shell}`);
    writeFileSync(script, stdout);
    if (existsSync(`/usr/bin/${shell}`)) execFileSync(shell, ['-n', script]);
  });
});
