/** Secret parameters leave no trace on a host: not in a process, not in a file, not in a log, during or after. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { GateConnection } from '../lab/gate-connection.ts';
import { GATE_PROCESS } from '../lab/init-host.ts';
import { type Asked, invocation } from '../lab/throw-away-ca.ts';
import { describeOnHost } from './attacked-host.ts';

/** In each secret there is; the programs that look for it are given it in two parts, so that they do not find themselves. */
const CANARY = 'canary-5b0f7d1e9c';
const [HEAD, TAIL] = [CANARY.slice(0, 7), CANARY.slice(7)];
/** Looks at every process of the host, again and again until it is told to stop. */
const WATCH = `
  while ! [ -e /tmp/looked-enough ]; do
    cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' >/tmp/looked
    grep -c BEACON_GRANT= /tmp/looked >>/tmp/looked-well
    grep -F "$1$2" /tmp/looked >>/tmp/looked-found
    echo >>/tmp/looked-times
  done`;

describeOnHost('a secret at a gate', (attacked) => {
  let watcher: Promise<unknown> | undefined;
  beforeAll(async () => {
    const { host } = attacked;
    const token = { token: { pattern: '[a-z0-9-]{1,60}', secret: true } };
    const one = async (name: string, body: string, more: object = {}) => ({
      ...{ summary: 'for a test', timeout_seconds: 60, run_as: 'beacon-setup', params: token },
      argv: [await host.command(name, body)],
      ...more,
    });
    await attacked.allow({
      take: await one('take', 'read -r token; echo got; sleep 1; printf %s "$token" | wc -c', {
        undo: 'give',
      }),
      give: await one('give', 'read -r token; sleep 0.5'),
      fail: await one('fail', 'read -r token; exit 3', { undo: 'give' }),
      hang: await one('hang', 'read -r token; echo got; exec sleep 4300', { undo: 'give' }),
    });
    await host.lab.script('for name in well found times; do : >/tmp/looked-$name; done');
    watcher = host.lab.exec(['sh', '-c', WATCH, 'sh', HEAD, TAIL], { timeoutMs: 120_000 });
  }, 120_000);
  afterAll(() => watcher);

  const asking = (command: string, value = CANARY): Asked => ({
    asked: invocation(command, {}, { token: value }),
    undo: invocation('give', {}, { token: value }),
  });
  const open = async (asked: Asked) =>
    GateConnection.open(attacked.host.lab, await attacked.host.ca.certify([asked]));

  test('L7: it stands nowhere, whether its command ends well, fails, is refused, cut or killed with its gate', async () => {
    const take = asking('take');
    const well = await open(take);
    expect(await well.run(take)).toMatchObject({ event: 'exit', code: 0 });
    expect(well.output()).toBe(`got\n${CANARY.length}\n`);
    await well.end();

    const fail = asking('fail');
    const failed = await open(fail);
    expect(await failed.run(fail)).toMatchObject({ event: 'exit', code: 3 });
    await failed.end();
    expect(failed.events.filter(({ event }) => event === 'undone')).toHaveLength(1);

    const wrong = asking('take', `${CANARY}_X`);
    const refused = await open(wrong);
    expect(await refused.run(wrong)).toMatchObject({ event: 'refused', code: 'value-refused' });
    refused.write(`{"v":1,"id":9,"command":"take","secrets":{"token":{"value":"${CANARY}"}}}\n`);
    await refused.end();
    expect(JSON.stringify(refused.events)).not.toContain(CANARY);

    for (const how of ['cut', 'killed'] as const) {
      const hang = asking('hang');
      const connection = await open(hang);
      connection.start(hang);
      await connection.says('got');
      if (how === 'cut') await connection.kill();
      else await attacked.host.lab.run(['pkill', '-KILL', '-f', GATE_PROCESS]);
      await connection.ended;
      const left = [
        'pgrep',
        '-f',
        `${GATE_PROCESS}|^/usr/bin/env -i|^/usr/lib/beacon/node .*recover$|^sleep 4300`,
      ];
      while ((await attacked.host.lab.exec(left)).status === 0);
    }

    await attacked.host.lab.script('touch /tmp/looked-enough');
    await watcher;
    const { lab } = attacked.host;
    // The looks were many, and they saw the commands' processes; they saw no secret.
    expect((await lab.run(['cat', '/tmp/looked-times'])).length).toBeGreaterThan(10);
    expect(await lab.run(['cat', '/tmp/looked-well'])).toMatch(/[1-9]/);
    expect(await lab.run(['cat', '/tmp/looked-found'])).toBe('');
    // Every file that this host has of its own: the journal, records, sessions, what is in memory only, core files.
    const folders = [
      '/etc',
      '/home',
      '/opt',
      '/root',
      '/run',
      '/srv',
      '/tmp',
      '/usr/lib/beacon',
      '/var',
      '/dev/shm',
    ];
    const find = 'word=$1$2; shift 2; journalctl --sync; grep -rlaF -- "$word" "$@" 2>/dev/null';
    expect((await lab.exec(['sh', '-c', find, 'sh', HEAD, TAIL, ...folders])).stdout).toBe('');
    expect(
      await lab.run(['sh', '-c', 'journalctl -a -o export | grep -acF "$1$2" || :', 'sh', HEAD, TAIL]),
    ).toBe('0\n');
  });
});
