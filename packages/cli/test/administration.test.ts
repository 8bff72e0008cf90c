import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseCertificateLine } from '@beacon/ssh/certificate';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type Knobs, type SmallCa, startSmallCa } from '../../client/test/small-ca.ts';
import { parseAddress } from '../src/hosts.ts';
import { createHome, type Home } from './command.ts';

describe('administration through the API', () => {
  let ca: SmallCa;
  let home: Home;
  let usual: Knobs;
  let hostKey: string;

  beforeAll(async () => {
    ca = await startSmallCa({
      hosts: [{ id: 'build-01', address: '192.0.2.7', port: 2222, logins: ['deploy'] }],
    });
    usual = { ...ca.knobs };
    home = createHome();
    expect((await home.run(['login', ca.url])).status).toBe(0);
    hostKey = join(home.directory, 'host_key');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'root@secret-name', '-f', hostKey]);
  });
  beforeEach(() => {
    Object.assign(ca.knobs, usual);
  });
  afterAll(async () => {
    await ca.close();
    home.remove();
  });

  it('registers a host and prints its certificate', async () => {
    const result = await home.run(
      `ca host add build-02 --address 192.0.2.10:2200 --login deploy --login ops --label os=linux --pool ci --host-key ${hostKey}.pub`.split(
        ' ',
      ),
    );
    expect(result.status).toBe(0);
    const certificate = parseCertificateLine(result.stdout);
    expect(certificate).toMatchObject({ kind: 'host', principals: ['build-02'] });
    expect(result.stderr).toContain('HostCertificate');
    expect(ca.bodies.at(-1)).toEqual({
      v: 1,
      id: 'build-02',
      address: '192.0.2.10',
      port: 2200,
      logins: ['deploy', 'ops'],
      labels: { os: 'linux' },
      pools: ['ci'],
      host_key: expect.stringMatching(/^ssh-ed25519 [A-Za-z0-9+/=]+$/),
    });
  });

  it('refuses to register what is none, before it asks', async () => {
    const asked = ca.bodies.length;
    const add = (change: string) =>
      `ca host add build-02 --address a --login x --host-key ${hostKey}.pub ${change}`.split(' ');
    const wrong: [string[], number, string][] = [
      [add('--label novalue'), 64, 'write k=v'],
      [add('--label a=1 --label a=2'), 64, 'given twice'],
      [add('--address a:b:0'), 64, 'is no address'],
      [add(`--host-key ${hostKey}`), 64, 'is a private key'],
      [add(`--host-key ${hostKey}.missing`), 66, 'cannot be read'],
      ['ca host add BUILD --address a --login x --host-key k'.split(' '), 64, 'is not a host id'],
      ['ca host add build-02 --address a --host-key k'.split(' '), 64, '--login'],
    ];
    for (const [args, status, said] of wrong) {
      const result = await home.run(args);
      expect(result).toMatchObject({ status, stdout: '', stderr: expect.stringContaining(said) });
    }
    expect(ca.bodies.length).toBe(asked);
  });

  it.each([
    ['a', 'a', 22],
    ['a:2200', 'a', 2200],
    ['192.0.2.1:22', '192.0.2.1', 22],
    ['[2001:db8::1]:2200', '2001:db8::1', 2200],
    ['[2001:db8::1]', '2001:db8::1', 22],
    ['2001:db8::1', '2001:db8::1', 22],
  ])('reads the address %s', (text, address, port) => {
    expect(parseAddress(text)).toEqual({ address, port });
  });

  it('lists hosts, as a table and as JSON', async () => {
    const { stdout } = await home.run(['ca', 'host', 'list']);
    expect(stdout).toMatch(
      /^HOST +STATE +LOGINS +ADDRESS +POOLS +LABELS\nbuild-01 +enabled +deploy +192\.0\.2\.7:2222 +- +-\n$/,
    );
    const { stdout: json } = await home.run(['ca', 'host', 'list', '--json']);
    expect(JSON.parse(json)).toEqual({
      hosts: [
        {
          id: 'build-01',
          state: 'enabled',
          logins: ['deploy'],
          address: '192.0.2.7',
          port: 2222,
          labels: {},
          pools: [],
        },
      ],
    });
  });

  it('disables and enables hosts and persons, with a reason', async () => {
    expect(await home.run(['ca', 'host', 'disable', 'build-01', '--reason', 'broken'])).toMatchObject({
      status: 0,
      stdout: 'build-01 is disabled\n',
    });
    expect(ca.bodies.at(-1)).toEqual({ v: 1, reason: 'broken' });
    expect((await home.run(['ca', 'host', 'enable', 'build-01'])).stdout).toBe('build-01 is enabled\n');
    expect((await home.run(['ca', 'person', 'disable', 'github:1'])).stdout).toBe(
      'github:1 is disabled; sessions ended: 1\n',
    );
    expect(await home.run(['ca', 'person', 'enable', 'octocat'])).toMatchObject({ status: 64 });
    expect(await home.run(['ca', 'host', 'disable', '..'])).toMatchObject({ status: 64 });
    expect(await home.run(['ca', 'host', 'disable', 'nowhere'])).toMatchObject({ status: 66 });
    expect((await home.run(['ca', 'person', 'list'])).stdout).toMatch(/github:1 +\d{4}.* left\n$/);
  });

  it('revokes by exactly one thing', async () => {
    const fingerprint = `SHA256:${'A'.repeat(43)}`;
    const cases: [string[], object][] = [
      [['--serial', '5', '--halt'], { by: 'serial', value: '5', halt: true }],
      [['--grant', '01jd8z0000abcdefghjkmnpqrs'], { by: 'grant', value: '01jd8z0000abcdefghjkmnpqrs' }],
      [['--person', 'github:7'], { by: 'person', value: 'github:7' }],
      [['--key', fingerprint], { by: 'public_key', value: fingerprint }],
      [['--ca-key', `${hostKey}.pub`], { by: 'ca_key', value: expect.stringMatching(/^ssh-ed25519 \S+$/) }],
    ];
    for (const [args, body] of cases) {
      expect(await home.run(['revoke', '--reason', 'lost', ...args])).toMatchObject({ status: 0 });
      expect(ca.bodies.at(-1)).toEqual({ v: 1, reason: 'lost', ...body });
    }
    expect(await home.run(['revoke', '--serial', '1', '--person', 'github:1'])).toMatchObject({ status: 64 });
    const { stdout } = await home.run(['revoke', '--serial', '5', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      revoked: ['1'],
      already: 0,
      sessions_ended: 0,
      record: { seq: expect.any(Number) },
    });
  });

  it('explains a decision, and says it by its status', async () => {
    const allowed = await home.run(['policy', 'explain', '--host', 'build-01']);
    expect(allowed.status).toBe(0);
    expect(allowed.stdout).toContain(
      'allowed: deploy@build-01: a policy allows it (allowed)\ndecided by: deploy.cedar#0\n',
    );
    expect(ca.bodies.at(-1)).toEqual({ v: 1, host: 'build-01', login: 'deploy', lifetime_seconds: 900 });
    ca.knobs.denials = {
      'build-01': {
        code: 'no-permit',
        detail: 'nothing permits it',
        missing: [{ kind: 'organization', id: '9' }],
      },
    };
    const args = [
      'policy',
      'explain',
      '--host',
      'build-01',
      '--person',
      'github:9',
      '--command',
      'runner.install',
      '--param',
      'name=r1=x',
    ];
    const denied = await home.run(args);
    expect(denied).toMatchObject({
      status: 77,
      stdout:
        'denied: deploy@build-01: nothing permits it (no-permit)\nmissing: membership in the organisation 9\n',
    });
    expect(ca.bodies.at(-1)).toMatchObject({
      person: 'github:9',
      commands: [{ command: 'runner.install', params: '{"name":"r1=x"}', commitments: {} }],
    });
    expect(JSON.parse((await home.run([...args, '--json'])).stdout)).toMatchObject({
      allowed: false,
      limits: null,
    });
  });

  it('shows the newest records, and the exact lines as JSON', async () => {
    const { stdout } = await home.run(['records', 'tail', '-n', '2', '--json']);
    const newest = ca.records.slice(-3);
    expect(newest.join('\n')).toContain(stdout.trimEnd().split('\n')[0]);
    expect(stdout.trimEnd().split('\n')).toHaveLength(2);
    const { stdout: shown } = await home.run(['records', 'tail', '--after', '0', '--lines', '1']);
    expect(shown).toMatch(/^1 {2}\d{4}-.* {2}host-registered {2}github:583231 \{\}\n$/);
  });

  it('verifies all records against the checkpoint and what it remembers', async () => {
    const first = await home.run(['records', 'verify']);
    expect(first).toMatchObject({ status: 0, stderr: '' });
    expect(first.stdout).toContain('no anchor was kept before');
    await home.run(['policy', 'explain', '--host', 'build-01']);
    const second = await home.run(['records', 'verify', '--json']);
    expect(JSON.parse(second.stdout)).toMatchObject({
      ok: true,
      count: ca.records.length,
      anchor: { seq: ca.records.length - 1 },
    });
    const anchors = join(home.state, 'anchors');
    const [file = ''] = readdirSync(anchors);
    expect((statSync(join(anchors, file)).mode & 0o777).toString(8)).toBe('600');
    expect(JSON.parse(readFileSync(join(anchors, file), 'utf8'))).toMatchObject({ seq: ca.records.length });
  });

  const tampered: [string, () => void, string][] = [
    [
      'a changed record',
      () =>
        (ca.knobs.tamper = changeRecords((lines) =>
          lines.map((line, at) => (at === 1 ? line.replace('"kind":"', '"kind":"x') : line)),
        )),
      'record 3: it does not follow',
    ],
    [
      'a missing record',
      () => (ca.knobs.tamper = changeRecords((lines) => lines.filter((_, at) => at !== 1))),
      'record 2: it is numbered 3',
    ],
    ['a cut end', () => (ca.knobs.tamper = changeRecords((lines) => lines.slice(0, 3))), 'records are gone'],
    [
      'a checkpoint that nobody signed',
      () => {
        ca.knobs.tamper = (path, body) =>
          path === '/v1/checkpoint' ? { checkpoint: `${String(body['checkpoint']).slice(0, -4)}AAAA` } : body;
      },
      'is not signed by',
    ],
  ];
  it.each(tampered)('finds %s', async (_name, arrange, said) => {
    expect((await home.run(['records', 'verify'])).status).toBe(0);
    arrange();
    const result = await home.run(['records', 'verify']);
    expect(result).toMatchObject({ status: 70, stdout: '' });
    expect(result.stderr).toContain(said);
  });

  const head = (seq: number, letter = 'a') => ({ seq, hash: letter.repeat(64) });
  const gone: [string, number, Record<string, ReturnType<typeof head>>][] = [
    ['went back', 5, { 'build-01': head(4) }],
    ['is another', 15, { 'build-01': head(15, 'b') }],
    ['is gone', 25, {}],
  ];
  it.each(gone)('L3: finds a head of a host that %s', async (_name, seq, heads) => {
    ca.knobs.heads = { 'build-01': head(seq) };
    expect((await home.run(['records', 'verify'])).stdout).toContain("the heads of 1 hosts' records");
    ca.knobs.heads = heads;
    const result = await home.run(['records', 'verify']);
    expect(result).toMatchObject({ status: 70, stderr: expect.stringContaining(`build-01 stood at ${seq}`) });
    ca.knobs.heads = { 'build-01': head(seq + 1) };
    expect((await home.run(['records', 'verify'])).status).toBe(0);
  });

  it('L4: finds heads that are not those of the signed checkpoint', async () => {
    ca.knobs.heads = { 'build-01': head(30) };
    ca.knobs.committed = { 'build-01': head(31) };
    const result = await home.run(['records', 'verify']);
    ca.knobs.committed = undefined;
    expect(result).toMatchObject({ status: 70, stderr: expect.stringContaining('commits to') });
  });

  it('shows how each host stands', async () => {
    const shown = await home.run(['ca', 'host', 'status']);
    expect(shown.stdout).toMatch(/HOST +SEEN .* CERTIFICATE ENDS +LOOK AT/);
    const all = JSON.parse((await home.run(['ca', 'host', 'status', '--json'])).stdout);
    expect(all.hosts).toHaveLength(ca.knobs.hosts.length);
    expect((await home.run(['ca', 'host', 'status', 'build-99'])).status).toBe(66);
    expect((await home.run(['ca', 'host', 'status', 'BUILD'])).status).toBe(64);
  });

  it('L4: shows how far the records of services go, and finds heads that the checkpoint does not commit to', async () => {
    ca.knobs.heads = { 'build-01': head(40) };
    ca.knobs.services = { portal: head(7) };
    const shown = await home.run(['ca', 'host', 'status']);
    expect(shown.stdout).toMatch(/SERVICE +SEEN +RECORDS +LOOK AT\nportal +.* +7 +-\n$/);
    const all = JSON.parse((await home.run(['ca', 'host', 'status', '--json'])).stdout);
    expect(all.services).toMatchObject([{ service: 'portal', head: head(7), head_refused: null }]);
    expect((await home.run(['records', 'verify'])).status).toBe(0);
    ca.knobs.tamper = (path, body) =>
      path === '/v1/host-reports' ? { ...body, services: [{ ...all.services[0], head: head(6) }] } : body;
    const result = await home.run(['records', 'verify']);
    ca.knobs.services = {};
    expect(result).toMatchObject({ status: 70, stderr: expect.stringContaining('commits to') });
  });

  it('finds a chain that was made anew', async () => {
    const anchors = join(home.state, 'anchors');
    const [file = ''] = readdirSync(anchors);
    writeFileSync(join(anchors, file), `{"v":1,"seq":2,"hash":"${'a'.repeat(64)}"}\n`);
    const result = await home.run(['records', 'verify']);
    expect(result).toMatchObject({
      status: 70,
      stderr: expect.stringContaining('what this machine remembers'),
    });
  });
});

function changeRecords(change: (lines: string[]) => string[]): Knobs['tamper'] {
  return (path, body) => {
    if (path !== '/v1/records') return body;
    const lines = body['records'] as string[];
    // Only the first page: what follows it is asked for by the number of the last one.
    return lines[0]?.includes('"seq":1,') === true
      ? { ...body, records: change(lines) }
      : { ...body, records: [] };
  };
}
