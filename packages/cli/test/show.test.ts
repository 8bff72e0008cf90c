import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createHome, type Home } from './command.ts';

const VECTORS = join(import.meta.dirname, '..', '..', 'ssh', 'test', 'vectors');
const vector = (name: string) => join(VECTORS, `${name}.pub`);

describe('beacon certificate show', () => {
  let home: Home;
  let directory: string;

  beforeAll(() => {
    home = createHome();
    directory = mkdtempSync(join(tmpdir(), 'beacon-show-'));
  });
  afterAll(() => {
    home.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  const show = async (...files: string[]) => {
    const result = await home.run(['certificate', 'show', '--json', ...files]);
    return {
      ...result,
      verdicts: result.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    };
  };

  it('says what a certificate holds', async () => {
    const { status, verdicts } = await show(vector('only_pty'));
    expect(status).toBe(0);
    expect(verdicts[0]).toMatchObject({
      file: vector('only_pty'),
      ok: true,
      type: 'ssh-ed25519-cert-v01@openssh.com',
      kind: 'user',
      serial: expect.stringMatching(/^\d+$/),
      critical_options: {},
      extensions: { 'permit-pty': true },
      authority: { fingerprint: expect.stringMatching(/^SHA256:/) },
    });
  });

  it('agrees with ssh-keygen -L on every vector that both read', async () => {
    const files = readdirSync(VECTORS)
      .filter((name) => name.endsWith('.pub') && !name.startsWith('key_'))
      .map((name) => join(VECTORS, name))
      .filter((file) => readFileSync(file, 'utf8').includes('-cert-v01@openssh.com'));
    const { verdicts } = await show(...files);
    expect(verdicts).toHaveLength(files.length);
    for (const [at, file] of files.entries()) {
      const verdict = verdicts[at];
      if (verdict.ok !== true) continue;
      const said = execFileSync('ssh-keygen', ['-L', '-f', file]).toString();
      expect(said).toContain(`Serial: ${verdict.serial}\n`);
      expect(said).toContain(`Type: ${verdict.type} ${verdict.kind} certificate`);
      expect(said).toContain(
        `Public key: ${certified(verdict.public_key.type)} ${verdict.public_key.fingerprint}`,
      );
      expect(said).toContain(verdict.authority.fingerprint);
    }
  });

  it('refuses what is malformed or wrongly signed, each file for itself', async () => {
    const changed = join(directory, 'changed.pub');
    const [type, base64 = ''] = readFileSync(vector('only_pty'), 'utf8').split(' ');
    const blob = Buffer.from(base64, 'base64');
    blob[80] = (blob[80] ?? 0) ^ 1;
    writeFileSync(changed, `${type} ${blob.toString('base64')}\n`);
    const binary = join(directory, 'binary.pub');
    writeFileSync(binary, Buffer.from([0xff, 0xfe, 0x00]));
    const { status, verdicts } = await show(
      changed,
      vector('only_pty'),
      binary,
      join(directory, 'missing'),
      directory,
    );
    expect(status).toBe(64);
    expect(verdicts).toMatchObject([
      { file: changed, ok: false, code: expect.stringMatching(/signature-wrong$/) },
      { ok: true },
      { file: binary, ok: false, code: 'key-line-malformed' },
      { ok: false, code: 'file-unreadable' },
      { ok: false, code: 'file-unreadable' },
    ]);
  });

  it('shows what would never be issued or accepted, with its reasons', async () => {
    const names = [
      'no_principals',
      'sha1_signature',
      'small_rsa',
      'unknown_critical',
      'forever',
      'serial_zero',
    ].filter((name) => existsSync(vector(name)));
    const { status, verdicts } = await show(...names.map(vector));
    expect(status).toBe(0);
    const codes = verdicts.map(({ defects }) => defects.map(({ code }: { code: string }) => code));
    const expected: Record<string, string> = {
      no_principals: 'no-principals',
      sha1_signature: 'sha1-signature',
      small_rsa: 'small-rsa',
      unknown_critical: 'foreign-critical-option',
      forever: 'forever',
      serial_zero: 'serial-zero',
    };
    for (const [at, name] of names.entries()) expect(codes[at]).toContain(expected[name]);
  });

  it('reads stdin, and prints one line a file for people', async () => {
    const stdin = readFileSync(vector('only_pty'));
    const result = await home.run(['certificate', 'show', '-'], { stdin });
    expect(result).toMatchObject({ status: 0, stderr: '' });
    expect(result.stdout).toMatch(
      /^-: user certificate \d+ for .*; options permit-pty; signed by SHA256:.*\n$/,
    );
    const refused = await home.run(['certificate', 'show', '-', vector('no_principals')], {
      stdin: 'ssh-rsa x\n',
    });
    expect(refused.status).toBe(64);
    expect(refused.stdout.split('\n')[0]).toMatch(/^-: refused \([a-z-]+\): /);
    expect(refused.stdout).toContain('WOULD BE REFUSED (no-principals)');
  });

  it('I12: shows hostile texts in a certificate without their control characters', async () => {
    const ca = join(directory, 'ca');
    const key = join(directory, 'evil');
    for (const file of [ca, key]) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file]);
    execFileSync('ssh-keygen', [
      '-q',
      '-s',
      ca,
      '-I',
      '\u001b[2Jowned\u0007',
      '-n',
      'a\u001b]0;x',
      `${key}.pub`,
    ]);
    for (const json of [[], ['--json']]) {
      const { stdout, status } = await home.run(['certificate', 'show', ...json, `${key}-cert.pub`]);
      expect(status).toBe(0);
      expect(stdout.replaceAll('\n', '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
    }
  });
});

describe('beacon revocations show', () => {
  let home: Home;
  let directory: string;

  beforeAll(() => {
    home = createHome();
    directory = mkdtempSync(join(tmpdir(), 'beacon-krl-'));
    const file = (name: string) => join(directory, name);
    for (const name of ['ca', 'key'])
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file(name)]);
    writeFileSync(file('spec'), 'serial: 5-9\nserial: 12\nid: somebody\n');
    execFileSync('ssh-keygen', [
      '-q',
      '-k',
      '-f',
      file('krl'),
      '-z',
      '7',
      '-s',
      `${file('ca')}.pub`,
      file('spec'),
    ]);
    writeFileSync(file('cut'), readFileSync(file('krl')).subarray(0, -3));
    writeFileSync(file('empty'), '');
  });
  afterAll(() => {
    home.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  it('says what each list revokes, and which are refused', async () => {
    const files = ['krl', 'cut', 'empty', 'missing'].map((name) => join(directory, name));
    const { status, stdout } = await home.run(['revocations', 'show', '--json', ...files]);
    expect(status).toBe(64);
    expect(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toMatchObject([
      {
        ok: true,
        version: '7',
        sealed: false,
        authorities: [
          { authority: expect.stringMatching(/^SHA256:/), serials: ['5-9', '12'], key_ids: ['somebody'] },
        ],
      },
      { ok: false, code: expect.stringMatching(/^(wire|krl)-/) },
      { ok: false, code: 'krl-malformed' },
      { ok: false, code: 'file-unreadable' },
    ]);
    const one = await home.run(['revocations', 'show', join(directory, 'krl')]);
    expect(one).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('6 serials and 1 key ids of 1 authorities'),
    });
  });
});

/** ssh-keygen calls the key in a certificate by the certificate's short name. */
function certified(type: string): string {
  const short: Record<string, string> = {
    'ssh-ed25519': 'ED25519-CERT',
    'ssh-rsa': 'RSA-CERT',
    'sk-ssh-ed25519@openssh.com': 'ED25519-SK-CERT',
    'sk-ecdsa-sha2-nistp256@openssh.com': 'ECDSA-SK-CERT',
  };
  return short[type] ?? 'ECDSA-CERT';
}
