/**
 * Where there is no lab: the whole way to one rootless gate over a real sshd, as whoever runs the tests. What only a whole
 * host can show is left out, and that is said.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { GateConnection } from '../lab/gate-connection.ts';
import { whyNoLab } from '../lab/possible.ts';
import { RootlessHost, whyNoRootlessHost } from '../lab/rootless-host.ts';
import { type Asked, invocation } from '../lab/throw-away-ca.ts';

const why = whyNoLab();
const whyNot = why === undefined ? 'there is a lab' : whyNoRootlessHost();
if (why !== undefined) {
  process.stderr.write(
    `${why}: gates are tried on one rootless host. Left out: accounts, sudo, limits, units, other forms of sshd's ` +
      `configuration, attacks from within the host${whyNot === undefined ? '' : `; and that too: ${whyNot}`}\n`,
  );
}

(whyNot === undefined ? describe : describe.skip)('a rootless gate', () => {
  let host: RootlessHost;
  beforeAll(async () => {
    host = await RootlessHost.start('build-01');
    const trace = host.at('trace');
    const name = { name: { pattern: '[a-z-]{1,20}' } };
    const one = async (command: string, body: string, undo?: string) => ({
      ...{ summary: 'for a test', timeout_seconds: 30, run_as: host.runsAs, params: name },
      argv: [await host.command(command, `echo "${command} $1" >>${trace}; ${body}`), '{name}'],
      ...(undo === undefined ? {} : { undo }),
    });
    await host.allow({
      version: 1,
      commands: {
        greet: await one('greet', 'echo "hello $1"'),
        make: await one('make', ':', 'unmake'),
        unmake: await one('unmake', ':'),
        hang: await one('hang', 'setsid sleep 4343 & echo started; sleep 4343', 'unmake'),
      },
    });
  }, 180_000);
  afterAll(() => host.close());

  const asking = (command: string, value = 'ada', undo?: string): Asked => ({
    asked: invocation(command, { name: value }),
    ...(undo === undefined ? {} : { undo: invocation(undo, { name: value }) }),
  });
  const open = async (asked: readonly Asked[]): Promise<GateConnection> =>
    GateConnection.open(host.target, await host.ca.certify(asked), { login: host.login });

  test('runs a command of its list, and says what it is not fit for', async () => {
    const greet = asking('greet');
    const connection = await open([greet]);
    expect(await connection.hello()).toMatchObject({ notice: expect.stringContaining('NOT FOR PRODUCTION') });
    expect(await connection.run(greet)).toMatchObject({ event: 'exit', code: 0 });
    expect(connection.output()).toBe('hello ada\n');
    expect(await connection.run(greet)).toMatchObject({ event: 'refused', code: 'already-started' });
    expect(await connection.end()).toBe(0);
  });

  test('refuses another command, other arguments, and a certificate that was used', async () => {
    const greet = asking('greet');
    const certified = await host.ca.certify([greet]);
    const enter = () => GateConnection.open(host.target, certified, { login: host.login });
    const connection = await enter();
    expect(await connection.run(asking('make'))).toMatchObject({ code: 'command-not-granted' });
    expect(await connection.run(asking('greet'))).toMatchObject({ code: 'arguments-differ' });
    await connection.end();
    const again = await enter();
    expect([await again.ended, again.events[0]]).toMatchObject([77, { code: 'certificate-used' }]);
  });

  test('gives no shell, and is shut to a certificate for another host and to a revoked one', async () => {
    const { blob, key } = await host.ca.certify([asking('greet')]);
    const shell = await GateConnection.open(
      host.target,
      { blob, key },
      { login: host.login, command: ['echo', 'a-shell'] },
    );
    await shell.hello();
    await shell.end();
    expect(shell.stray).toBe('');
    const elsewhere = await host.ca.certify([], { fields: { principals: [`${host.login}@build-02`] } });
    const revoked = await host.ca.certify([]);
    await host.publish({ revoked: [revoked.serial] });
    for (const certified of [elsewhere, revoked]) {
      const connection = await GateConnection.open(host.target, certified, { login: host.login });
      expect([await connection.ended, connection.events]).toEqual([255, []]);
    }
  });

  test('takes back what was started when the connection is cut', async () => {
    await host.script(`: >${host.at('trace')}`);
    const run = [asking('make', 'a', 'unmake'), asking('hang', 'b', 'unmake')] as const;
    const connection = await open(run);
    await connection.run(run[0]);
    connection.start(run[1]);
    await connection.says('started');
    await connection.kill();
    const trace = async (): Promise<string> => host.script(`cat ${host.at('trace')}`);
    for (let tries = 0; tries < 400 && !(await trace()).endsWith('unmake a\n'); tries++) await delay(100);
    expect(await trace()).toBe('make a\nhang b\nunmake b\nunmake a\n');
    expect(await host.script('pgrep -f "^sleep 4343$" || :')).toBe('');
  });
});
