import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import type { RunEntry } from '@beacon/protocol/http/runs';
import type { RunEventKind } from '@beacon/protocol/run-words';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type BrokerKnobs, type SmallBroker, startSmallBroker } from '../../client/test/small-broker.ts';
import { type SmallCa, startSmallCa } from '../../client/test/small-ca.ts';
import { parseWords } from '../src/run.ts';
import { createRunOutput } from '../src/run-output.ts';
import { readSecrets } from '../src/run-secrets.ts';
import { statusOf } from '../src/run-watch.ts';
import { createHome, type Home, type Running } from './command.ts';

let ca: SmallCa;
let broker: SmallBroker;
let home: Home;
let usual: BrokerKnobs;

beforeAll(async () => {
  ca = await startSmallCa();
  broker = await startSmallBroker(ca);
  usual = { ...broker.knobs };
  home = createHome();
  expect((await home.run(['login', ca.url, '--broker', broker.url])).status).toBe(0);
});
beforeEach(() => {
  Object.assign(broker.knobs, usual);
  for (const list of [broker.requests, broker.orders, broker.wishes, broker.lastIds]) list.length = 0;
});
afterAll(async () => {
  home.remove();
  await broker.close();
  await ca.close();
});

/** The run goes this way as soon as it was made. */
function script(phase: RunEntry['phase'], ...events: readonly (readonly [RunEventKind, object])[]): void {
  broker.knobs.script = ({ id }) => {
    for (const [kind, data] of events) broker.say(id, kind, data);
    const end =
      phase === 'failed' ? { end: { how: 'failed', reason: 'app.pull ended with 3' } as const } : {};
    broker.change(id, { phase, possible: phase === 'failed' ? ['retry'] : [], ...end });
    broker.say(id, 'over', { phase, left: [] });
  };
}

async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited += 10) {
    if (waited > 50_000) throw new Error('it did not happen');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe('beacon run', () => {
  const said = [
    ['phase', { attempt: 1, phase: 'running' }],
    ['step', { step: 0, command: 'app.pull', outcome: 'started' }],
    ['stdout', { step: 0, text: 'pulled é\n\u001b[31mred\r\n' }],
    ['stderr', { step: 0, text: 'a warning\n' }],
    ['stdout', { step: 0, base64: '/wD+' }],
  ] as const;

  it('shows stdout on stdout, byte by byte, stderr and the talk on stderr, and ends as the command did', async () => {
    script('succeeded', ...said, ['step', { step: 0, command: 'app.pull', outcome: 'succeeded', code: 0 }]);
    const result = await home.run(['run', 'build-01', 'app.pull', 'ref=main', 'note=a=b c']);
    expect(result.status).toBe(0);
    expect(result.stdout).toBe('pulled é\n\u001b[31mred\r\n\ufffd\0\ufffd');
    expect(result.stderr).toContain('a warning\n');
    expect(result.stderr).toMatch(/^beacon: run [0-9a-z]{26}: app.pull on beacon@build-01\n/);
    expect(broker.orders).toMatchObject([
      { v: 1, host: 'build-01', command: 'app.pull', params: { ref: 'main', note: 'a=b c' } },
    ]);
    const quiet = await home.run(['run', '-q', 'ops@build-01', 'app.pull']);
    expect(quiet).toMatchObject({ status: 0, stderr: 'a warning\n' });
    expect(broker.orders[1]).toMatchObject({ login: 'ops', params: {} });
  });

  it('ends a run that failed with the status of what failed, and says why and what can be done', async () => {
    script('failed', ['step', { step: 0, command: 'app.pull', outcome: 'failed', code: 3 }]);
    const result = await home.run(['run', 'build-01', 'app.pull']);
    expect(result).toMatchObject({ status: 3, stdout: '' });
    expect(result.stderr).toMatch(/^beacon: run [0-9a-z]{26} failed: app.pull ended with 3\n/m);
    expect(result.stderr).toMatch(/you may: beacon runs retry [0-9a-z]{26}\n/);
  });

  it.each([
    [{ outcome: 'failed', code: 3 }, 3],
    [{ outcome: 'failed', code: null, signal: 'SIGKILL' }, 137],
    [{ outcome: 'failed', reason: 'it took too long' }, 255],
    [{ outcome: 'failed', code: 0, reason: 'cut short' }, 255],
    [{ outcome: 'undone', code: 3 }, undefined],
  ])('makes of %p the status %p', (data, status) => {
    expect(statusOf({ seq: 1, kind: 'step', time: new Date(0), data: { step: 0, ...data } })).toBe(status);
  });

  it('ends a run that was denied or cancelled with 255', async () => {
    for (const phase of ['denied', 'cancelled'] as const) {
      script(phase);
      expect(await home.run(['run', 'build-01', 'app.pull'])).toMatchObject({ status: 255, stdout: '' });
    }
  });

  it('runs a procedure, whose words are all parameters', async () => {
    script('succeeded');
    const words = ['run', '--procedure', 'runner.provision', 'build-01', 'scope=acme/web', 'mode=one-job'];
    expect((await home.run(words)).status).toBe(0);
    expect(broker.orders[0]).toMatchObject({
      procedure: 'runner.provision',
      params: { scope: 'acme/web', mode: 'one-job' },
    });
  });

  it('prints the id alone and does not wait with --detach', async () => {
    const { stdout, status } = await home.run(['run', '--detach', 'build-01', 'app.pull']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^[0-9a-z]{26}\n$/);
    broker.change(stdout.trim(), { phase: 'succeeded' });
    broker.say(stdout.trim(), 'stdout', { step: 0, text: 'late\n' });
    broker.say(stdout.trim(), 'over', { phase: 'succeeded' });
    const watched = await home.run(['runs', 'watch', stdout.trim()]);
    expect(watched).toMatchObject({ status: 0, stdout: 'late\n' });
  });

  it('says everything as JSON, one value a line, in which nothing of the command stands raw', async () => {
    script('failed', ...said, ['step', { step: 0, command: 'app.pull', outcome: 'failed', code: 3 }]);
    const result = await home.run(['run', '--json', 'build-01', 'app.pull']);
    expect(result).toMatchObject({ status: 3, stderr: '' });
    const lines = result.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toHaveLength(9);
    expect(lines[0]).toMatchObject({ run: { host: 'build-01', phase: 'queued' } });
    expect(lines[3]).toEqual({
      event: { seq: 3, kind: 'stdout', time: expect.any(String), data: said[2][1] },
    });
    expect(lines[8]).toMatchObject({ run: { phase: 'failed', possible: ['retry'] }, status: 3 });
    expect(result.stdout).not.toContain('\u001b');
  });

  it('goes on where it was when the connection is lost', async () => {
    broker.knobs.script = ({ id }) => {
      for (let n = 1; n <= 5; n++) broker.say(id, 'stdout', { step: 0, text: `${n}\n` });
    };
    const running = home.start(['run', 'build-01', 'app.pull']);
    await until(() => running.said().endsWith('5\n'));
    broker.drop();
    await until(() => broker.lastIds.length === 2);
    const id = broker.requests.findLast((one) => one.includes('/events'))?.split('/')[3] ?? '';
    broker.change(id, { phase: 'succeeded' });
    broker.say(id, 'over', { phase: 'succeeded' });
    const result = await running.result;
    expect(result).toMatchObject({ status: 0, stdout: '1\n2\n3\n4\n5\n' });
    expect(result.stderr).toContain('trying again');
    expect(broker.lastIds[1]).toBe('5');
  });

  it('stops at an interruption, with what can be done', async () => {
    broker.knobs.script = ({ id }) => {
      const end = { how: 'interrupted', reason: 'the broker was started anew' } as const;
      broker.change(id, { phase: 'interrupted', end, possible: ['look', 'resume', 'undo'] });
      broker.say(id, 'phase', { attempt: 1, phase: 'interrupted' });
    };
    const result = await home.run(['run', 'build-01', 'app.pull']);
    expect(result.status).toBe(255);
    expect(result.stderr).toMatch(/ interrupted: the broker was started anew\n.*beacon runs resume/);
  });

  describe('and Ctrl-C', () => {
    const begin = async (): Promise<{ running: Running; id: string }> => {
      broker.knobs.script = ({ id }) => broker.say(id, 'stdout', { step: 0, text: 'begun\n' });
      const running = home.start(['run', 'build-01', 'app.pull']);
      await until(() => running.said() === 'begun\n');
      return { running, id: broker.requests.findLast((one) => one.includes('/events'))?.split('/')[3] ?? '' };
    };

    it('cancels the run and waits until it is over', async () => {
      broker.knobs.press = ({ id }) => {
        broker.say(id, 'stdout', { step: 0, text: 'taken back\n' });
        broker.change(id, { phase: 'cancelled', end: { how: 'cancelled', reason: 'the person cancelled' } });
        broker.say(id, 'over', { phase: 'cancelled' });
      };
      const { running } = await begin();
      running.kill('SIGINT');
      const result = await running.result;
      expect(result).toMatchObject({ status: 255, stdout: 'begun\ntaken back\n' });
      expect(result.stderr).toContain('cancelling; what began is taken back');
      expect(broker.wishes.map(({ wish }) => wish)).toEqual(['cancel']);
    });

    it('leaves it running the second time, and says how to look', async () => {
      const { running, id } = await begin();
      running.kill('SIGINT');
      await until(() => broker.wishes.length === 1);
      running.kill('SIGINT');
      const result = await running.result;
      expect(result.status).toBe(255);
      expect(result.stderr).toContain(`beacon runs watch ${id}`);
      expect(broker.wishes).toHaveLength(1);
    });
  });

  describe('with secrets', () => {
    const secret = 'hunter2 with spaces';

    it('reads them from files and from stdin, and says them to nobody but the broker', async () => {
      script('succeeded');
      const file = join(home.directory, 'token');
      writeFileSync(file, `${secret}\n`);
      const result = await home.run(
        [
          'run',
          '--secret-file',
          `token=${file}`,
          '--secret',
          'one',
          '--secret',
          'two',
          'build-01',
          'app.pull',
        ],
        { stdin: 'first\nsecond\nthird\n' },
      );
      expect(result.status).toBe(0);
      expect(broker.orders[0]?.secrets).toEqual({ token: secret, one: 'first', two: 'second' });
      expect(result.stdout + result.stderr + readFileSync(home.session, 'utf8')).not.toContain(secret);
    });

    it('asks for them on a terminal without showing them, and lets the command type nothing there', async () => {
      script('succeeded', ...said);
      const args = ['run', '--secret', 'token', 'build-01', 'app.pull'];
      const line = [process.execPath, ...home.command(args)].map((word) => `'${word}'`).join(' ');
      const child = spawn('script', ['-qefc', `stty cols 200 rows 24; exec ${line}`, '/dev/null'], {
        env: { ...home.environment, TERM: 'dumb' },
      });
      let seen = '';
      let isAsked = false;
      child.stdout.on('data', (text) => {
        seen += text;
        if (isAsked || !seen.includes('Value of token')) return;
        isAsked = true;
        setTimeout(() => child.stdin.write('hunter2\r'), 300);
      });
      expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
      expect(broker.orders[0]?.secrets).toEqual({ token: 'hunter2' });
      expect(seen).not.toContain('hunter2');
      expect(seen).toContain('\\u001b[31mred');
    });

    it.each([
      [{ secretFile: ['token'] }, 'NAME=FILE'],
      [{ secretFile: ['token=/nonexistent'] }, 'cannot be read'],
      [{ secretFile: ['token=/dev/null'] }, 'is empty'],
      [{ secretFile: ['token=/dev/zero'] }, 'no secret'],
      [{ secret: ['Token'] }, 'a parameter name'],
      [{ secret: ['token'], secretFile: ['token=/dev/null'] }, 'twice'],
    ])('refuses %p', async (options, said) => {
      await expect(readSecrets({ secret: [], secretFile: [], ...options })).rejects.toThrow(said);
    });

    it('refuses a stdin that does not have them, before anything is asked of anybody', async () => {
      const result = await home.run(['run', '--secret', 'token', 'build-01', 'app.pull']);
      const said = expect.stringContaining('stdin has no line');
      expect(result).toMatchObject({ status: 255, stdout: '', stderr: said });
      expect(broker.requests).toEqual([]);
    });
  });

  it.each([
    [[], undefined, 'which command'],
    [['ref=main'], undefined, 'which command'],
    [['app.pull', 'main'], undefined, 'key=value'],
    [['app.pull', 'A=1'], undefined, 'key=value'],
    [['app.pull', 'a=1', 'a=2'], undefined, 'twice'],
    [['App'], undefined, 'a command name'],
    [['app.pull'], 'deploy', 'key=value'],
  ])('refuses the words %p', (words, procedure, said) => {
    expect(() => parseWords(words, procedure)).toThrow(said);
  });

  it('ends with 255 where it was typed wrongly', async () => {
    const result = await home.run(['run', '--broker', 'http://broker.example.org', 'build-01', 'app.pull']);
    expect(result).toMatchObject({ status: 255, stdout: '', stderr: expect.stringContaining('https://') });
  });
});

describe('the broker', () => {
  it('is the one that was typed, then that of the environment, then that of config.yaml', async () => {
    const [first, second] = [await startSmallBroker(ca), await startSmallBroker(ca)];
    const environment = { BEACON_BROKER: first.url };
    await home.run(['hosts', '--broker', second.url], { environment });
    await home.run(['hosts'], { environment });
    await home.run(['hosts']);
    const count = ({ requests }: SmallBroker) => requests.filter((one) => one === 'GET /v1/hosts').length;
    expect([second, first, broker].map(count)).toEqual([1, 1, 1]);
    expect(readFileSync(home.configuration, 'utf8')).toContain(`broker: ${broker.url}\n`);
    await Promise.all([first.close(), second.close()]);
  });

  it('has to be one of the CA where the person is logged in', async () => {
    const other = await startSmallBroker({ url: 'https://other.example.org', findToken: () => undefined });
    const result = await home.run(['hosts', '--broker', other.url]);
    expect(result.status).toBe(64);
    expect(result.stderr).toContain('is a broker of https://other.example.org');
    expect(other.requests).toEqual(['GET /.well-known/beacon']);
    await other.close();
  });

  it('is asked for when none is known', async () => {
    const stranger = createHome();
    expect(await stranger.run(['hosts'])).toMatchObject({
      status: 64,
      stderr: expect.stringContaining('BEACON_BROKER'),
    });
    stranger.remove();
  });
});

describe('beacon hosts', () => {
  const detail = {
    host: { id: 'build-01', state: 'enabled', logins: ['beacon'], labels: {}, pools: [] },
    commands: [
      {
        command: 'app.pull',
        summary: 'Pull\u001b[2J',
        login: 'beacon',
        params: { ref: { pattern: '.+' }, token: { pattern: '.+', secret: true } },
        offered: 'host',
        allowed: 'yes',
        reason: { code: 'allowed', text: 'a policy allows it' },
        missing: [],
      },
      {
        command: 'app.down',
        summary: 'Stop',
        login: 'beacon',
        params: {},
        offered: 'inventory',
        allowed: 'no',
        reason: { code: 'no-policy', text: 'no policy allows it' },
        missing: [{ kind: 'team', id: '7' }],
      },
    ],
    procedures: [
      {
        name: 'deploy',
        summary: 'Deploy',
        params: { ref: { required: false } },
        steps: ['app.pull'],
        allowed: 'yes',
      },
    ],
  };

  it('lists them, and of one what is allowed and why not', async () => {
    broker.knobs.details['build-01'] = detail;
    expect((await home.run(['hosts'])).stdout).toBe(
      'HOST      STATE    LOGINS  POOLS  LABELS\nbuild-01  enabled  beacon  ci     -\n',
    );
    const { stdout } = await home.run(['hosts', 'build-01']);
    expect(stdout).toContain('app.pull  yes      beacon  ref token (secret)  Pull\\u001b[2J\n');
    expect(stdout).toContain(
      'app.down: not allowed: no policy allows it\n  missing: membership in the team 7\n',
    );
    expect(stdout).toContain('deploy     yes      [ref]       Deploy\n');
    const json = JSON.parse((await home.run(['hosts', 'build-01', '--json'])).stdout);
    expect(json.commands[0]).toMatchObject({ command: 'app.pull', params: { token: { secret: true } } });
    expect((await home.run(['hosts', 'build-02'])).status).toBe(66);
  });
});

describe('beacon runs', () => {
  it('lists runs, shows one, and passes on what a person presses', async () => {
    const id = (await home.run(['run', '--detach', 'build-03', 'app.pull', 'ref=main'])).stdout.trim();
    await home.run(['run', '--detach', 'build-02', 'app.pull']);
    const list = await home.run(['runs', '--host', 'build-03']);
    expect(list.stdout).toMatch(new RegExp(`^RUN .*\n${id}  .*  build-03  app.pull +queued\n$`));
    expect(JSON.parse((await home.run(['runs', '-n', '1', '--json'])).stdout).runs).toHaveLength(1);
    broker.change(id, {
      phase: 'interrupted',
      possible: ['look', 'resume', 'undo'],
      end: { how: 'interrupted', reason: 'the broker was started anew' },
      left: ['the runner r1 at acme/web: remove it there'],
    });
    const shown = await home.run(['runs', id]);
    expect(shown.stdout).toContain(
      'app.pull on beacon@build-03: interrupted: the broker was started anew\nparameters: ref="main"\n',
    );
    expect(shown.stdout).toContain('left behind: the runner r1 at acme/web');
    expect(JSON.parse((await home.run(['runs', id, '--json'])).stdout).run).toMatchObject({
      id,
      last_event: 0,
    });
    expect((await home.run(['runs', 'look', id])).status).toBe(0);
    expect((await home.run(['runs', 'resume', id, '--secret', 'token'], { stdin: 'x\n' })).status).toBe(0);
    expect(broker.wishes).toEqual([
      { wish: 'look', secrets: undefined },
      { wish: 'resume', secrets: { token: 'x' } },
    ]);
    const refused = await home.run(['runs', 'retry', id]);
    expect(refused).toMatchObject({
      status: 64,
      stderr: expect.stringContaining('retry is not possible now'),
    });
  });

  it('shows what follows with --watch, and nothing of before', async () => {
    const id = (await home.run(['run', '--detach', 'build-01', 'app.pull'])).stdout.trim();
    broker.say(id, 'stdout', { step: 0, text: 'before\n' });
    broker.change(id, { phase: 'interrupted', possible: ['undo'] });
    broker.knobs.press = () => {
      broker.say(id, 'stdout', { step: 0, text: 'after\n', undo: true });
      broker.change(id, { phase: 'cancelled', possible: ['retry'] });
      broker.say(id, 'over', { phase: 'cancelled' });
    };
    expect(await home.run(['runs', 'undo', '--watch', id])).toMatchObject({ status: 255, stdout: 'after\n' });
  });
});

describe('output on a terminal', () => {
  it('I12: shows control characters and obeys none but newline and tab, over pieces too', async () => {
    const screen = Object.assign(new PassThrough(), { isTTY: true });
    const output = createRunOutput({ stdout: screen, stderr: screen });
    for (const text of ['a\tb\r', '\nc\u001b]0;title\u0007\n', 'd\re\n', '\u202eabc']) {
      await output.write('stdout', { text });
    }
    screen.end();
    expect(String(screen.read())).toBe('a\tb\nc\\u001b]0;title\\u0007\nd\\u000de\n\\u202eabc');
  });
});
