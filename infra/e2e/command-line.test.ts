/**
 * The whole command line against the real CA: every command that goes through the API, as an administrator and as a
 * person would type it. What a command does with hostile or missing answers is shown in packages/cli/test.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { logIn } from '../demo/login.ts';
import { type DemoHost, Stage } from '../demo/stage.ts';

describe('the command line and the CA', () => {
  let stage: Stage;
  let host: DemoHost;

  beforeAll(async () => {
    stage = await Stage.open();
    await logIn(stage, 'ada');
    host = await stage.addHost('web-01', 'web');
    await logIn(stage, 'lin');
  }, 120_000);
  afterAll(() => stage?.close());

  const ada = (...argv: string[]) => stage.beacon('ada', argv);
  const lin = (...argv: string[]) => stage.beacon('lin', argv);
  const json = async (run: Promise<{ status: number | null; stdout: string; stderr: string }>) => {
    const { status, stdout, stderr } = await run;
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return JSON.parse(stdout);
  };

  it('says who one is', async () => {
    expect(await json(lin('whoami', '--json'))).toMatchObject({
      person: 'github:102',
      name: 'lin',
      ca: stage.caUrl,
      service: 'beacon-cli',
      memberships: { teams: ['github:7001'] },
    });
  });

  it('runs commands with the status, stdin and lifetime that were asked for', async () => {
    const result = await stage.beacon(
      'lin',
      ['ssh', '-v', '--lifetime', '1m', 'web-01', '--', 'cat; exit 7'],
      {
        input: 'sent',
      },
    );
    expect(result).toMatchObject({ status: 7, stdout: 'sent' });
    expect(result.stderr).toMatch(/certificate \d+, grant [0-9a-z]{26}, until .*, record \d+/);
    expect(await lin('ssh', '-t', 'web-01', 'test -t 0 && echo terminal')).toMatchObject({
      stdout: 'terminal\r\n',
    });
    expect(await lin('ssh', '--lifetime', '1h', 'web-01', 'true')).toMatchObject({
      status: 255,
      stderr: expect.stringContaining('missing: a shorter lifetime, at most 900 s'),
    });
  });

  it('lets plain ssh in by the printed configuration', async () => {
    const file = join(stage.folder, 'beacon_config');
    writeFileSync(file, (await lin('ssh-config')).stdout);
    const result = await stage.run('ssh', ['-F', file, 'web-01', 'echo', 'plain'], {
      env: stage.environment('lin'),
    });
    expect(result).toEqual({ status: 0, stdout: 'plain\n', stderr: '' });
  });

  it('administers hosts and persons, and only with the right to it', async () => {
    expect(await json(ada('ca', 'host', 'list', '--json'))).toMatchObject({
      hosts: [{ id: 'web-01', state: 'enabled', address: '127.0.0.1', port: host.port, pools: ['web'] }],
    });
    expect(await lin('ca', 'host', 'disable', 'web-01')).toMatchObject({ status: 77, stdout: '' });
    expect(await ada('ca', 'host', 'disable', 'web-01', '--reason', 'a test')).toMatchObject({ status: 0 });
    expect(await lin('ssh', 'web-01', 'true')).toMatchObject({ status: 255 });
    expect(await ada('ca', 'host', 'enable', 'web-01')).toMatchObject({
      status: 0,
      stdout: 'web-01 is enabled\n',
    });
    expect(await lin('ssh', 'web-01', 'true')).toMatchObject({ status: 0 });
    expect(await ada('ca', 'host', 'disable', 'nowhere')).toMatchObject({ status: 66 });
    expect(await ada('ca', 'person', 'disable', 'github:103')).toMatchObject({ status: 0 });
    expect(await json(ada('ca', 'person', 'list', '--json'))).toMatchObject({
      disabled: [{ person: 'github:103', by: 'github:101' }],
    });
    expect(await ada('ca', 'person', 'enable', 'github:103')).toMatchObject({ status: 0 });
  });

  it('explains decisions', async () => {
    const allowed = await lin('policy', 'explain', '--host', 'web-01');
    expect(allowed).toMatchObject({ status: 0, stderr: '' });
    expect(allowed.stdout).toContain('decided by: web-team-logs-in');
    const denied = await ada('policy', 'explain', '--host', 'web-01', '--json');
    expect(denied.status).toBe(77);
    expect(JSON.parse(denied.stdout)).toMatchObject({ allowed: false, missing: [{ kind: 'team' }] });
    const other = await ada('policy', 'explain', '--host', 'web-01', '--person', 'github:102', '--json');
    expect(JSON.parse(other.stdout)).toMatchObject({ allowed: expect.any(Boolean) });
  });

  it('shows and verifies the records, and reads the store of the CA alone', async () => {
    const { status, stdout } = await ada('records', 'tail', '-n', '3', '--json');
    expect(status).toBe(0);
    expect(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).chain),
    ).toEqual(['ca', 'ca', 'ca']);
    expect(await ada('records', 'tail', '--host', 'web-01', '-n', '1')).toMatchObject({ status: 0 });
    expect(await lin('records', 'tail')).toMatchObject({ status: 77 });
    expect(await json(ada('records', 'verify', '--json'))).toMatchObject({ ok: true, anchor: null });
    expect(await json(ada('records', 'verify', '--json'))).toMatchObject({
      ok: true,
      anchor: { seq: expect.any(Number) },
    });
    const store = join(stage.folder, 'ca', 'data', 'ca.db');
    const { head } = await json(ada('records', 'verify', '--json'));
    const anchor = `${head.seq}:${head.hash}`;
    expect(
      await json(ada('records', 'verify', '--store', store, '--anchor', anchor, '--json')),
    ).toMatchObject({ ok: true });
  });

  it('revokes by serial, grant and person, and shows the list', async () => {
    const { stderr } = await lin('ssh', '-v', 'web-01', 'true');
    const [, serial = '', grant = ''] = /certificate (\d+), grant ([0-9a-z]{26})/.exec(stderr) ?? [];
    expect(await json(ada('revoke', '--serial', serial, '--json'))).toMatchObject({
      revoked: [serial],
      already: 0,
    });
    expect(await json(ada('revoke', '--grant', grant, '--json'))).toMatchObject({ revoked: [], already: 1 });
    const list = join(stage.folder, 'krl');
    writeFileSync(list, Buffer.from(await (await fetch(`${stage.caUrl}/v1/krl`)).arrayBuffer()));
    expect(await json(ada('revocations', 'show', '--json', list))).toMatchObject({
      ok: true,
      sealed: true,
      authorities: [{ serials: expect.arrayContaining([serial]) }],
    });
    expect((await json(ada('revoke', '--person', 'github:102', '--json'))).sessions_ended).toBeGreaterThan(0);
    expect(await lin('whoami')).toMatchObject({
      status: 77,
      stderr: expect.stringContaining('beacon login'),
    });
  });

  it('keeps the session over many renewals at once', async () => {
    await logIn(stage, 'lin');
    const file = join(stage.folder, 'home', 'lin', '.local', 'state', 'beacon', 'session.json');
    const before = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...before, access_token_expires_at: '2000-01-01T00:00:00.000Z' }));
    const results = await Promise.all(Array.from({ length: 6 }, () => lin('whoami', '--json')));
    expect(results.map(({ status }) => status)).toEqual(Array(6).fill(0));
    const after = JSON.parse(readFileSync(file, 'utf8'));
    expect(after.refresh_token).not.toBe(before.refresh_token);
    expect(after.key).toEqual(before.key);
  });

  it('logs out', async () => {
    expect(await lin('logout')).toMatchObject({ status: 0, stdout: 'logged out lin (github:102)\n' });
    expect(await lin('ssh', 'web-01', 'true')).toMatchObject({ status: 255 });
  });
});
