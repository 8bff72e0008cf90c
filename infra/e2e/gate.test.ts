/** The whole way to a gate: OpenSSH's ssh, a real sshd, principals command, login's shell, sudo, gate, transient unit. */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type ConnectOptions, GateConnection } from '../lab/gate-connection.ts';
import { GateHost } from '../lab/gate-host.ts';
import { GATE_PROCESS } from '../lab/init-host.ts';
import { Lab } from '../lab/lab.ts';
import { whyNoLab } from '../lab/possible.ts';
import { type Asked, invocation } from '../lab/throw-away-ca.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`gates on hosts of the lab are left out: ${why}\n`);

(why === undefined ? describe : describe.skip)('a gate', () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-gate-test-'));
  const lab = Lab.open(folder);
  let host: GateHost;

  const name = { pattern: '.{0,200}' };
  const plain = { summary: 'for a test', timeout_seconds: 30, run_as: 'beacon-setup' };
  const TRACE = '/var/tmp/trace';
  const trace = async (): Promise<string[]> => {
    const text = await host.lab.run(['cat', TRACE]);
    return text === '' ? [] : text.trimEnd().split('\n');
  };
  const kinds = async (grant: string): Promise<string[]> =>
    (await host.records())
      .map((line) => JSON.parse(line) as { kind: string; grant?: string })
      .flatMap((record) => (record.grant === grant ? [record.kind] : []));
  /** How many processes of the commands' account there are. */
  const left = async (): Promise<number> => {
    const { stdout } = await host.lab.exec(['pgrep', '-c', '-u', 'beacon-setup']);
    return Number(stdout);
  };
  const untilLeft = async (count: number): Promise<void> => {
    for (let tries = 0; tries < 400 && (await left()) !== count; tries++) await delay(100);
    expect(await left()).toBe(count);
  };
  const asking = (command: string, value = 'a', undo?: string): Asked => ({
    asked: invocation(command, { name: value }),
    ...(undo === undefined ? {} : { undo: invocation(undo, { name: value }) }),
  });
  const open = async (commands: readonly Asked[], options?: ConnectOptions) => {
    const certified = await host.ca.certify(commands);
    return { ...certified, connection: await GateConnection.open(host.lab, certified, options) };
  };

  beforeAll(async () => {
    host = await GateHost.boot(lab, 'build-01');
    const one = async (script: string, body: string, more: object = {}) => ({
      ...plain,
      argv: [await host.command(script, body), '{name}'],
      params: { name },
      ...more,
    });
    const say = (script: string) => `echo "${script} $1" >>${TRACE}`;
    await host.lab.script(`install -m 666 /dev/null ${TRACE}`);
    await host.allow({
      version: 1,
      commands: {
        greet: await one('greet', 'printf "%s|" "$@"; id -un; id -Gn; umask; env | cut -d= -f1 | sort'),
        make: await one('make', say('make'), { undo: 'unmake' }),
        unmake: await one('unmake', say('unmake')),
        hang: await one('hang', `${say('hang')}; setsid sleep 4300 & echo started; sleep 4300`, {
          undo: 'unmake',
        }),
        once: await one('once', 'echo started; sleep 4300', { exclusive: 'name' }),
        brief: await one('brief', 'trap "" TERM; sleep 4300', { timeout_seconds: 1 }),
        signal: await one('signal', 'kill -SEGV $$'),
        status: await one('status', 'exit 42'),
        reload: await one('reload', 'systemctl daemon-reload; exit 43', { run_as: 'root' }),
        bomb: await one('bomb', 'f() { f | f & }; f; sleep 2; pgrep -c -u beacon-setup', {
          max_tasks: 20,
          timeout_seconds: 4,
        }),
        eat: await one('eat', 'exec tail /dev/zero', { max_memory_bytes: 33_554_432 }),
        flood: await one('flood', 'head -c 300000000 /dev/zero'),
        pooled: await one('pooled', 'id -un', {
          run_as: { pool: 'beacon-r' },
          exclusive: 'name',
          release: 'freed',
        }),
        freed: await one('freed', 'id -un', { run_as: { pool: 'beacon-r' }, exclusive: 'name' }),
      },
    });
  }, 120_000);
  afterAll(async () => {
    await lab.down();
    rmSync(folder, { recursive: true, force: true });
  });

  test('runs a command of the allowlist as its own account, with exactly the value that was sent', async () => {
    const value = `$HOME \${PATH} %n %% $$ \`id\` "q" \\ ' ä`;
    const greet = asking('greet', value);
    const { connection } = await open([greet]);
    expect(await connection.hello()).toMatchObject({ host: 'build-01' });
    expect(await connection.run(greet)).toMatchObject({ event: 'exit', code: 0, why: 'ended' });
    const [got, rest] = connection.output().split('|');
    expect(got).toBe(value);
    expect(rest?.split('\n').slice(0, 3)).toEqual(['beacon-setup', 'beacon-setup', '0077']);
    expect(rest?.split('\n').slice(3)).toEqual([
      'BEACON_COMMAND',
      'BEACON_GRANT',
      'BEACON_HOST',
      'BEACON_PERSON',
      'BEACON_SERVICE',
      'HOME',
      'LANG',
      'PATH',
      'PWD',
      '',
    ]);
    expect(await connection.end()).toBe(0);
    expect(connection.stray + connection.stderr).toBe('');
  });

  test.each([
    ['status', { code: 42, signal: null, why: 'ended' }],
    ['reload', { code: 43, signal: null, why: 'ended' }],
    ['signal', { code: null, signal: 'SIGSEGV', why: 'ended' }],
    ['brief', { why: 'timeout' }],
    ['eat', { code: null, signal: 'SIGKILL' }],
  ] as const)('tells how a command ended: %s', async (command, how) => {
    const asked = asking(command);
    const { connection } = await open([asked]);
    expect(await connection.run(asked)).toMatchObject(how);
    expect(await connection.end()).toBe(0);
    await untilLeft(0);
  });

  test('G17: bounds the processes of a command, and leaves none', async () => {
    const bomb = asking('bomb');
    const { connection } = await open([bomb]);
    await connection.run(bomb);
    expect(Number(connection.output() || 20)).toBeLessThanOrEqual(20);
    await connection.end();
    await untilLeft(0);
  });

  test('R6: reads a flood to its end without passing it on', async () => {
    const flood = asking('flood');
    const { connection } = await open([flood]);
    expect(await connection.run(flood)).toMatchObject({ code: 0 });
    expect(connection.output()).toHaveLength(1_048_576);
    await connection.end();
  });

  test('binds one account of a pool to a value until its release', async () => {
    const run = [
      asking('pooled', 'a'),
      asking('pooled', 'b'),
      asking('freed', 'a'),
      asking('pooled', 'c'),
    ] as const;
    const { connection } = await open(run);
    for (const asked of run) expect(await connection.run(asked)).toMatchObject({ code: 0 });
    expect(connection.output()).toBe('beacon-r-1\nbeacon-r-2\nbeacon-r-1\nbeacon-r-1\n');
    await connection.end();
  });

  test('lets one value be in work once at a time', async () => {
    const [first, second] = [asking('once'), asking('once')];
    const one = await open([first]);
    one.connection.start(first);
    await one.connection.says('started');
    const two = await open([second]);
    expect(await two.connection.run(second)).toMatchObject({ event: 'refused', code: 'busy' });
    await Promise.all([one.connection.kill(), two.connection.kill()]);
    await untilLeft(0);
  });

  describe('takes back what was started', () => {
    beforeEach(() => host.lab.script(`: >${TRACE}`));
    const until = async (expected: readonly string[]): Promise<void> => {
      for (let tries = 0; tries < 400 && (await trace()).length < expected.length; tries++) await delay(100);
      await untilLeft(0);
      expect(await trace()).toEqual(expected);
    };
    const begin = async () => {
      const run = [asking('make', 'a', 'unmake'), asking('hang', 'b', 'unmake')] as const;
      const begun = await open(run);
      await begun.connection.run(run[0]);
      begun.connection.start(run[1]);
      await begun.connection.says('started');
      return begun;
    };
    const all = ['make a', 'hang b', 'unmake b', 'unmake a'];

    test('R7: when the client is killed', async () => {
      const { connection, grant } = await begin();
      await connection.kill();
      await until(all);
      for (let tries = 0; tries < 400 && !(await kinds(grant.grant)).includes('session-closed'); tries++)
        await delay(100);
      expect(await kinds(grant.grant)).toEqual([
        'session-opened',
        ...['command-started', 'command-ended', 'command-started', 'command-ended'],
        ...['undo-started', 'undo-ended', 'undo-started', 'undo-ended', 'session-closed'],
      ]);
    });

    test('when the gate itself is killed, without anybody connecting again', async () => {
      const { connection, grant } = await begin();
      await host.lab.run(['pkill', '-KILL', '-f', GATE_PROCESS]);
      await until(all);
      await connection.ended;
      for (let tries = 0; tries < 400 && !(await kinds(grant.grant)).includes('session-closed'); tries++)
        await delay(100);
      expect(await kinds(grant.grant)).toEqual([
        'session-opened',
        ...['command-started', 'command-ended', 'command-started', 'session-recovered', 'command-ended'],
        ...['undo-started', 'undo-ended', 'undo-started', 'undo-ended', 'session-closed'],
      ]);
    });

    test('when the certificate is revoked on the host', async () => {
      const { connection, serial } = await begin();
      await host.publish({ revoked: [serial] });
      expect(await connection.ended).toBe(77);
      expect(connection.events.at(-1)).toMatchObject({ event: 'closed', why: 'revoked' });
      await until(all);
    });
  });
});
