import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseGateEvent } from '@beacon/protocol/gate-event';
import { formatGateRequest } from '@beacon/protocol/gate-request';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bundleGate } from '../../../scripts/bundle-gate.ts';
import { GATE_VERSION } from '../src/version.ts';
import { invocation, isRoot, SmallHost } from './small-host.ts';

let host: SmallHost;
let bundle: string;
let inputs: string[];
beforeAll(async () => {
  host = await SmallHost.open();
  bundle = join(host.folder, 'gate');
  inputs = await bundleGate(bundle, process.execPath);
});
afterAll(() => host.close());

const gate = (argv: readonly string[], environment: Record<string, string> = {}) => {
  const { status, stdout, stderr } = spawnSync(bundle, argv, {
    encoding: 'utf8',
    env: environment,
    input: '',
  });
  return { status, stdout, stderr };
};

describe('the bundled gate', () => {
  it('says the version of its package', () => {
    const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8')) as {
      version: string;
    };
    expect(GATE_VERSION).toBe(version);
  });

  it('is made of the sources of three packages, and nothing else', () => {
    expect(
      inputs.filter((input) => !/^packages\/(gate|ssh|protocol)\/src\/[a-z0-9-]+[.]ts$/.test(input)),
    ).toEqual([]);
    expect(inputs).not.toContain('packages/ssh/src/key.ts');
  });

  it('G5: refuses with 77 whoever is not sent by sshd', () => {
    expect(gate([])).toMatchObject({
      status: 77,
      stdout: expect.stringContaining('"code":"certificate-missing"'),
    });
    const asked = gate([], { BEACON_CERTIFICATE: 'AAAA' });
    expect(asked).toMatchObject({
      status: 77,
      stdout: expect.stringContaining('"code":"not-from-sshd"'),
      stderr: '',
    });
  });

  (isRoot ? it : it.skip)('does not go without root for whoever is root', () => {
    const asked = gate(['--rootless', host.folder], { BEACON_CERTIFICATE: 'AAAA' });
    expect(asked).toMatchObject({ status: 77, stdout: expect.stringContaining('"code":"usage"') });
  });

  it('goes without root for who is not root, and says in hello what it is not fit for', async () => {
    const greet = { asked: invocation('greet', { name: 'ada' }) };
    host.clock = Date.now();
    await host.publish();
    // The account is looked up and, without root, not entered.
    const plain = { summary: 's', timeout_seconds: 20, run_as: 'nobody' };
    const name = { pattern: '[a-z]+' };
    host.allow({
      version: 1,
      commands: {
        greet: { ...plain, argv: [host.script('greet', 'echo "hello $1"'), '{name}'], params: { name } },
      },
    });
    const { blob } = await host.certify([greet]);
    const lines = [
      formatGateRequest({ kind: 'command', id: 1, ...greet }),
      formatGateRequest({ kind: 'end', id: 2 }),
    ];
    const { status, stdout } = spawnSync(bundle, ['--rootless', host.folder], {
      encoding: 'utf8',
      env: { BEACON_CERTIFICATE: blob.toString('base64') },
      input: `${lines.join('\n')}\n`,
      ...host.leave(),
    });
    const events = stdout.trimEnd().split('\n').map(parseGateEvent);
    expect(events[0]).toMatchObject({
      event: 'hello',
      notice: expect.stringContaining('NOT FOR PRODUCTION'),
    });
    expect(events.filter(({ event }) => event === 'stdout')).toEqual([
      { event: 'stdout', id: 1, text: 'hello ada\n' },
    ]);
    expect([status, events.at(-1)]).toMatchObject([0, { event: 'closed', why: 'ended' }]);
  });

  it('prints the contract of a file, and ends with 78 where it is refused', () => {
    const file = join(host.folder, 'list.json');
    host.write('list.json', '{"version":1,"commands":{}}');
    // Only the folders of the test's own file can be written by others.
    const { status, stdout, stderr } = gate(['list', '--allowlist', file]);
    expect([status, stdout === '' ? stderr : JSON.parse(stdout)]).toEqual(
      status === 0
        ? [0, expect.objectContaining({ v: 1, commands: {} })]
        : [78, expect.stringContaining('chmod')],
    );
    rmSync(file);
    expect(gate(['check', '--allowlist', file])).toMatchObject({ status: 78, stdout: '' });
  });

  it.each([[['nothing']], [['check', 'more']], [['--nothing']]])(
    'says how it is used when it is asked %j',
    (argv) => {
      expect(gate(argv)).toMatchObject({
        status: 64,
        stdout: '',
        stderr: expect.stringContaining('Usage: beacon gate'),
      });
    },
  );
});
