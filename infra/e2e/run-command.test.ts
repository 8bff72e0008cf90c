/**
 * `beacon run` and its neighbours from a login to the trace, and the documented program `docs/examples/run-on-host.ts` as it
 * stands: a real CA, a real broker and a real host with its gate.
 */
import type { BrokerApi } from '@beacon/client';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { logIn as logInProgram, runOnHost } from '../../docs/examples/run-on-host.ts';
import { approve, logIn } from '../demo/login.ts';
import { RunnerStage } from '../demo/runner-stage.ts';
import type { Outcome } from '../demo/stage.ts';
import { whyNoLab } from '../lab/possible.ts';

const NAME = { name: { pattern: '[a-z][a-z0-9-]{0,30}' } };
const COMMANDS = {
  'site.deploy': { summary: 'Put a site in place', params: NAME, undo: 'site.withdraw' },
  'site.withdraw': { summary: 'Take a site away', params: NAME },
  'site.watch': { summary: 'Watch a site until told to stop', params: NAME },
  'site.wipe': { summary: 'Take all sites away', params: {} },
};

const here = whyNoLab() === undefined ? describe : describe.skip;
const host = 'build-01';
let scene: RunnerStage;
let url: string;

beforeAll(async () => {
  if (whyNoLab() !== undefined) return;
  const { 'site.wipe': _, ...permitted } = COMMANDS;
  scene = await RunnerStage.open({
    host,
    commands: permitted,
    lay: async (target) => {
      const with_ = async (name: keyof typeof COMMANDS, body: string, words: readonly string[]) => ({
        ...COMMANDS[name],
        argv: [await target.command(name.replace('.', '-'), body), ...words],
        timeout_seconds: 60,
        run_as: target.runsAs,
      });
      return {
        'site.deploy': await with_('site.deploy', 'echo "$1 is live"; echo "a warning" >&2', ['{name}']),
        'site.withdraw': await with_('site.withdraw', 'echo "$1 is gone"', ['{name}']),
        'site.watch': await with_('site.watch', 'echo "watching $1"; sleep 4242 & wait', ['{name}']),
        'site.wipe': await with_('site.wipe', 'true', []),
      };
    },
  });
  ({ url } = scene.broker);
  await logIn(scene.stage, 'lin');
}, 180_000);

afterAll(() => scene?.close(), 60_000);

function beacon(person: string, words: readonly string[]): Promise<Outcome> {
  return scene.stage.beacon(person, [...words, '--broker', url]);
}

here('the command line', () => {
  test('shows the hosts, and what may be run there', async () => {
    const hosts = await beacon('lin', ['hosts', '--json']);
    expect(hosts).toMatchObject({ status: 0, stderr: '' });
    expect(JSON.parse(hosts.stdout).hosts).toContainEqual(expect.objectContaining({ id: host }));
    const { stdout } = await beacon('lin', ['hosts', host]);
    expect(stdout).toMatch(/^site\.deploy +(yes|depends) /m);
    expect(stdout).toMatch(/^site\.wipe +no /m);
    expect(stdout).toContain('site.wipe: not allowed: ');
  });

  test('runs a command there, with its output and status, and its trace has all of it', async () => {
    const ran = await beacon('lin', ['run', host, 'site.deploy', 'name=blog']);
    expect(ran).toMatchObject({ status: 0, stdout: 'blog is live\n' });
    expect(ran.stderr).toContain('\na warning\n');
    const id = /run ([0-9a-z]{26})/.exec(ran.stderr)?.[1] ?? '';
    const shown = JSON.parse((await beacon('lin', ['runs', id, '--json'])).stdout);
    expect(shown.run).toMatchObject({ phase: 'succeeded', host, params: { name: 'blog' } });
    const traced = await beacon('lin', ['records', 'trace', shown.run.steps[0].grant, '--json']);
    const { entries, findings, unread } = JSON.parse(traced.stdout);
    expect({ status: traced.status, findings, unread }).toEqual({
      status: 0,
      findings: [],
      unread: [{ source: 'sshd', reason: null }],
    });
    const kinds = entries.map(({ source, kind }: { source: string; kind: string }) => `${source} ${kind}`);
    expect(kinds).toEqual(
      expect.arrayContaining([
        'broker run-created',
        'ca certificate',
        'host session-opened',
        'host command-started',
        'broker step-succeeded',
        'host session-closed',
      ]),
    );
    const again = await beacon('lin', ['runs', 'watch', id]);
    expect(again).toMatchObject({ status: 0, stdout: ran.stdout });
    expect((await beacon('lin', ['runs'])).stdout).toContain(id);
  });

  test('ends with 255 and the reason where policy says no, and others do not see the run', async () => {
    const denied = await beacon('lin', ['run', host, 'site.wipe']);
    expect(denied.status).toBe(255);
    expect(denied.stderr).toMatch(/not allowed|denied/);
    const id = /[0-9a-z]{26}/.exec((await beacon('lin', ['runs'])).stdout)?.[0] ?? '';
    expect(await beacon('ada', ['runs', id])).toMatchObject({ status: 66, stdout: '' });
  });

  test('cancels a run with Ctrl-C, and what began is taken back', async () => {
    const child = scene.stage.start('lin', ['run', '--broker', url, host, 'site.watch', 'name=blog']);
    let said = '';
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    await new Promise<void>((resolve, reject) => {
      const hear = (data: Buffer) => {
        said += data.toString();
        if (said.includes('site.watch started')) resolve();
      };
      child.stdout?.on('data', hear);
      child.stderr?.on('data', hear);
      child.once('close', () => reject(new Error(said)));
    });
    child.kill('SIGINT');
    expect(await ended).toBe(255);
    expect(said).toContain('cancelled');
  });
});

here('the documented program', () => {
  let api: BrokerApi;
  beforeAll(async () => {
    let approved: Promise<void> | undefined;
    const show = (_page: string, code: string) => {
      approved = approve(scene.stage.caUrl, 'lin', code);
    };
    api = await logInProgram({ brokerUrl: url, clientId: 'beacon-cli', show });
    await approved;
  });

  test('runs a command once, however often it asks with the same key', async () => {
    const order = { host, command: 'site.deploy', params: { name: 'shop' } };
    const first = await runOnHost(api, order, 'deploy-shop-1');
    const again = await runOnHost(api, order, 'deploy-shop-1');
    expect(first).toMatchObject({ run: { phase: 'succeeded' }, status: 0 });
    expect(again).toEqual(first);
  });

  test('is told why where policy says no', async () => {
    const order = { host, command: 'site.wipe', params: {} };
    const result = await runOnHost(api, order, 'wipe-1').catch((error: unknown) => error);
    expect(JSON.stringify(result)).toMatch(/denied/);
  });
});
