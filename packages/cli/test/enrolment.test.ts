import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type SmallCa, startSmallCa } from '../../client/test/small-ca.ts';
import { createHome, type Home } from './command.ts';

const ID = `0${'1'.repeat(25)}`;
const ARMOUR = '-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n';

describe('host tokens and trust roots through the API', () => {
  let ca: SmallCa;
  let home: Home;
  beforeAll(async () => {
    ca = await startSmallCa({});
    home = createHome();
    expect((await home.run(['login', ca.url])).status).toBe(0);
  });
  afterAll(async () => {
    await ca.close();
    home.remove();
  });
  const run = (line: string) => home.run(line.split(' '));

  it('prints a token for one host, and what is left out is usual', async () => {
    const result = await run('ca host token build-02');
    expect(result).toMatchObject({ status: 0, stdout: 'beacon-host-1.a.b\n' });
    expect(result.stderr).toContain('not shown again');
    expect(ca.bodies.at(-1)).toEqual({
      v: 1,
      kind: 'host',
      host: 'build-02',
      address: 'build-02',
      port: 22,
      logins: ['beacon'],
      labels: {},
      pools: [],
      replace: false,
      lifetime_seconds: 3600,
    });
  });

  it('prints a token for a fleet', async () => {
    const words =
      '--uses 40 --domain example.org --port 2222 --login ops --pool ci --label os=linux --lifetime 2d';
    expect((await run(`ca host token --hosts build-[0-9]+ ${words}`)).status).toBe(0);
    expect(ca.bodies.at(-1)).toEqual({
      v: 1,
      kind: 'pool',
      hosts: 'build-[0-9]+',
      uses: 40,
      domain: 'example.org',
      port: 2222,
      logins: ['ops'],
      labels: { os: 'linux' },
      pools: ['ci'],
      lifetime_seconds: 172_800,
    });
  });

  it('refuses what names no host, or both, before it asks', async () => {
    const asked = ca.bodies.length;
    for (const words of [
      '',
      ' build-01 --hosts x',
      ' BUILD',
      ' build-01 --uses 2',
      ' --hosts x --replace',
      ' --hosts x --uses 0',
      ' build-01 --lifetime 31d',
      ' build-01 --lifetime 5',
    ]) {
      const result = await run(`ca host token${words}`);
      expect([words, result.status, result.stdout]).toEqual([words, 64, '']);
    }
    expect(ca.bodies.length).toBe(asked);
  });

  it('lists tokens without their secrets, and takes one back', async () => {
    const listed = await run('ca host tokens');
    expect(listed.stdout).toMatch(/TOKEN +HOSTS +BY +EXPIRES +USES/);
    expect(listed.stdout).toContain('build-[0-9]+');
    expect((await run(`ca host revoke-token ${ID}`)).stdout).toBe(`${ID} is good for nothing more\n`);
    expect(ca.requests.at(-1)).toBe(`DELETE /v1/host-tokens/${ID}`);
  });

  it('shows which hosts lack a key, and activates one by its file or fingerprint', async () => {
    const key = `SHA256:${'A'.repeat(43)}`;
    const shown = await run('ca rotate status');
    expect(shown.stdout).toMatch(new RegExp(`user +${key} +next +build-03`));
    expect(shown.stdout).toMatch(/user +\S+ +signs/);
    expect(shown.stdout).toMatch(new RegExp(`host +${key} +former +renewal by build-04`));
    expect(shown.stderr).toContain('build-09');
    const done = await run(`ca rotate activate ${key} --without build-03 --reason yearly`);
    expect(done).toMatchObject({ status: 0, stdout: `The CA signs with ${key}.\n` });
    expect(ca.bodies.at(-1)).toEqual({ v: 1, key, without: ['build-03'], reason: 'yearly' });
    expect((await run(`ca rotate activate ${key} --without BUILD --reason x`)).status).toBe(64);
    expect((await run('ca rotate activate none.pub --reason x')).status).toBe(66);
  });

  it('publishes a root as its exact text, with the signatures that lie beside it', async () => {
    const file = join(home.directory, 'root.json');
    writeFileSync(file, '{ "v": 1 }\n');
    const unsigned = await run(`ca root publish ${file}`);
    expect([unsigned.status, unsigned.stderr]).toEqual([66, expect.stringContaining('beacon ca root sign')]);
    writeFileSync(`${file}.sig`, ARMOUR);
    expect((await run(`ca root publish ${file}`)).stdout).toBe('Trust root 7 is published.\n');
    expect(ca.bodies.at(-1)).toEqual({ v: 1, document: '{ "v": 1 }\n', signature: ARMOUR });
    writeFileSync(`${file}.handover`, ARMOUR);
    await run(`ca root publish ${file}`);
    expect(ca.bodies.at(-1)).toMatchObject({ handover: ARMOUR });
  });
});
