import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Running } from '../src/execution.ts';
import { recover } from '../src/recover.ts';
import { type Asked, type Client, invocation, SmallHost } from './small-host.ts';

let host: SmallHost;

const trace = (): string[] => {
  try {
    return readFileSync(join(host.folder, 'trace/calls'), 'utf8').trimEnd().split('\n');
  } catch {
    return [];
  }
};

beforeEach(async () => {
  host = await SmallHost.open();
  host.openFolder('trace');
  const name = { pattern: '[a-z0-9-]{1,40}' };
  const one = (script: string, body = '', more: object = {}) => ({
    timeout_seconds: 20,
    run_as: 'worker',
    summary: 'for a test',
    argv: [host.script(script, `echo "${script} $1" >>${host.folder}/trace/calls; ${body}`), '{name}'],
    params: { name },
    ...more,
  });
  host.allow({
    version: 1,
    commands: {
      make: one('make', '', { undo: 'unmake' }),
      unmake: one('unmake'),
      fail: one('fail', 'exit 3', { undo: 'unfail' }),
      unfail: one('unfail', 'exit 4'),
      hang: one('hang', 'setsid sleep 4244 & echo started; sleep 4244', { undo: 'unmake' }),
      plain: one('plain'),
      keyed: one('keyed', '', { undo: 'unkeyed' }),
      unkeyed: one('unkeyed', 'read -r key; [ "$key" = opened ]', {
        params: { name, key: { pattern: '[a-z]+', secret: true } },
      }),
    },
  });
});
afterEach(() => host.close());

const asking = (command: string, name: string, undo?: string): Asked => ({
  asked: invocation(command, { name }),
  ...(undo === undefined ? {} : { undo: invocation(undo, { name }) }),
});

const begin = async (commands: readonly Asked[], options: Parameters<SmallHost['certify']>[1] = {}) => {
  const certified = await host.certify(commands, options);
  return { ...certified, client: host.session(certified.blob) };
};

const said = (client: Client): unknown[] =>
  client.events.flatMap((event) => {
    if (event.event === 'undone') return [[event.command, event.code, event.why]];
    return event.event === 'left' ? [[event.command, 'left']] : [];
  });

describe('what was started is taken back, newest first,', () => {
  it('R7: when the connection is lost while a command runs, which is stopped', async () => {
    const run = [asking('make', 'a', 'unmake'), asking('plain', 'b'), asking('hang', 'c', 'unmake')] as const;
    const { client } = await begin(run);
    await client.run(run[0]);
    await client.run(run[1]);
    client.start(run[2]);
    await client.says('started');
    expect(await client.cut()).toBe('lost');
    expect(trace()).toEqual(['make a', 'plain b', 'hang c', 'unmake c', 'unmake a']);
    expect(
      client.events.find(({ event, ...rest }) => event === 'exit' && 'id' in rest && rest.id === 3),
    ).toMatchObject({
      why: 'lost',
      signal: 'SIGTERM',
    });
    expect(host.kinds().slice(-6)).toEqual([
      'command-ended',
      'undo-started',
      'undo-ended',
      'undo-started',
      'undo-ended',
      'session-closed',
    ]);
  });

  it('when the connection is lost between two commands', async () => {
    const make = asking('make', 'a', 'unmake');
    const { client } = await begin([make]);
    await client.run(make);
    await client.cut();
    expect(trace()).toEqual(['make a', 'unmake a']);
  });

  it('when the run is cancelled while a command runs', async () => {
    const run = [asking('make', 'a', 'unmake'), asking('hang', 'b', 'unmake')] as const;
    const { client } = await begin(run);
    await client.run(run[0]);
    client.start(run[1]);
    await client.says('started');
    client.send({ kind: 'cancel' });
    expect(await client.ended).toBe('cancelled');
    expect(trace()).toEqual(['make a', 'hang b', 'unmake b', 'unmake a']);
    expect(said(client)).toEqual([
      ['unmake', 0, 'ended'],
      ['unmake', 0, 'ended'],
    ]);
  });

  it('when a step fails, its own undo first; an undo that fails does not keep the others; nothing starts after', async () => {
    const run = [asking('make', 'a', 'unmake'), asking('fail', 'b', 'unfail'), asking('plain', 'c')] as const;
    const { client } = await begin(run);
    await client.run(run[0]);
    expect(await client.run(run[1])).toMatchObject({ code: 3 });
    expect(await client.run(run[2])).toMatchObject({ event: 'refused', code: 'run-over' });
    expect(await client.end()).toBe('ended');
    expect(trace()).toEqual(['make a', 'fail b', 'unfail b', 'unmake a']);
    expect(said(client)).toEqual([
      ['unfail', 4, 'ended'],
      ['unmake', 0, 'ended'],
    ]);
  });

  it('when the certificate is revoked while a command runs, which is stopped', async () => {
    const hang = asking('hang', 'a', 'unmake');
    const { client, serial } = await begin([hang]);
    client.start(hang);
    await client.says('started');
    await host.publish({ revoked: [serial] });
    expect(await client.ended).toBe('revoked');
    expect(trace()).toEqual(['hang a', 'unmake a']);
  });

  it('but not where the status halts the grant: then it is left, by name', async () => {
    const hang = asking('hang', 'a', 'unmake');
    const { client, serial, grant } = await begin([hang]);
    client.start(hang);
    await client.says('started');
    await host.publish({ revoked: [serial], status: { halt: [grant.grant] } });
    expect(await client.ended).toBe('revoked');
    expect(trace()).toEqual(['hang a']);
    expect(said(client)).toEqual([['unmake', 'left']]);
    expect(host.kinds()).toContain('undo-left');
  });

  it('but not more than fifteen minutes past the grant', async () => {
    const make = asking('make', 'a', 'unmake');
    const { client, grant } = await begin([make]);
    await client.run(make);
    host.clock += 10 * 60_000 + 15 * 60_000;
    await host.publish();
    expect(await client.cut()).toBe('lost');
    expect(said(client)).toEqual([['unmake', 'left']]);
    expect(grant.commands).toHaveLength(1);
  });

  it('but not once the client has said that the run is complete', async () => {
    const make = asking('make', 'a', 'unmake');
    const { client } = await begin([make]);
    await client.run(make);
    expect(await client.end()).toBe('ended');
    expect(trace()).toEqual(['make a']);
  });

  it('L8: though nothing can be written down any more', async () => {
    const run = [asking('make', 'a', 'unmake'), asking('hang', 'b', 'unmake')] as const;
    const { client } = await begin(run);
    await client.run(run[0]);
    client.start(run[1]);
    await client.says('started');
    host.fillDisk();
    await client.cut().catch(() => undefined);
    expect(trace()).toEqual(['make a', 'hang b', 'unmake b', 'unmake a']);
    expect(said(client)).toEqual([
      ['unmake', 0, 'ended'],
      ['unmake', 0, 'ended'],
    ]);
  });

  it('with the secret that came with it, while this gate lives', async () => {
    const keyed: Asked = {
      asked: invocation('keyed', { name: 'a' }),
      undo: invocation('unkeyed', { name: 'a' }, { key: 'opened' }),
    };
    const { client } = await begin([keyed]);
    await client.run(keyed);
    await client.cut();
    expect(said(client)).toEqual([['unkeyed', 0, 'ended']]);
  });

  it('across a replaced grant', async () => {
    const [first, second] = [asking('make', 'a', 'unmake'), asking('make', 'b', 'unmake')];
    const { client, key } = await begin([first]);
    await client.run(first);
    const later = await host.certify([second], { key });
    client.send({ kind: 'certificate', blob: later.blob });
    expect(await client.run(second)).toMatchObject({ code: 0 });
    await client.cut();
    expect(trace()).toEqual(['make a', 'make b', 'unmake b', 'unmake a']);
  });
});

describe('after a gate has died', () => {
  const abandon = async (commands: readonly Asked[], unit: string | null): Promise<string> => {
    const { grant, serial } = await host.certify(commands);
    const gate = host.gate();
    gate.journal.keep({
      serial: String(serial),
      person: grant.person,
      service: grant.service,
      host: grant.host,
      grant: grant.grant,
      until: new Date(host.clock + 600_000).toISOString(),
      unit,
      started: commands.map(({ asked, undo }, index) => ({
        id: index + 1,
        grant: grant.grant,
        index,
        command: asked.command,
        unit: `beacon-${asked.command}-${index}`,
        undo:
          undo === undefined
            ? null
            : { command: undo.command, params: undo.params, needsSecret: undo.secrets.size > 0 },
      })),
    });
    const index = commands.findIndex(({ asked }, at) => `beacon-${asked.command}-${at}` === unit);
    if (index >= 0) gate.records.append({ kind: 'command-started', grant: grant.grant, facts: { index } });
    host.disown(String(serial));
    return grant.grant;
  };

  const hang = async (unit: string): Promise<Running> => {
    const running = host.execution.start({
      ...{ unit, description: '', stdin: '', timeoutSeconds: 60, maxTasks: 20, maxMemoryBytes: 2 ** 30 },
      argv: [join(host.folder, 'commands/hang'), 'b'],
      account: { name: 'worker', uid: host.workerUid, gid: host.workerUid, home: '/' },
      environment: { PATH: '/usr/bin:/bin' },
    });
    await new Promise((resolve) => running.stdout.once('data', resolve));
    return running;
  };

  it('the next one stops what was left running, and takes back what had started', async () => {
    const unit = 'beacon-hang-1';
    const running = await hang(unit);
    await abandon([asking('make', 'a', 'unmake'), asking('hang', 'b', 'unmake')], unit);
    const plain = asking('plain', 'c');
    const { client } = await begin([plain]);
    expect(await client.run(plain)).toMatchObject({ code: 0 });
    await client.end();
    await running.ended;
    expect(trace()).toEqual(['hang b', 'unmake b', 'unmake a', 'plain c']);
    expect(
      host
        .kinds()
        .filter((kind) => kind !== 'trust-advanced')
        .slice(0, 9),
    ).toEqual([
      'command-started',
      'session-opened',
      'session-recovered',
      'command-ended',
      'undo-started',
      'undo-ended',
      'undo-started',
      'undo-ended',
      'session-closed',
    ]);
  });

  it('recover takes back what the records say has ended, and leaves the unit of that name alone', async () => {
    const unit = 'beacon-make-0';
    const grant = await abandon([asking('make', 'a', 'unmake')], unit);
    host.gate().records.append({ kind: 'command-ended', grant, facts: { index: 0 } });
    let isOver = false;
    const another = await hang(unit);
    void another.ended.finally(() => {
      isOver = true;
    });
    expect(await recover(host.gate())).toBe(1);
    expect(isOver).toBe(false);
    expect(trace()).toEqual(['hang b', 'unmake a']);
    expect(host.kinds().filter((kind) => kind === 'command-ended')).toHaveLength(1);
    await host.execution.stopUnit(unit);
    await another.ended;
  });

  it('recover settles it once, and leaves by name an undo whose secret is gone', async () => {
    const keyed: Asked = {
      asked: invocation('keyed', { name: 'a' }),
      undo: invocation('unkeyed', { name: 'a' }, { key: 'opened' }),
    };
    await abandon([keyed, asking('make', 'b', 'unmake')], null);
    expect(await recover(host.gate())).toBe(1);
    expect(await recover(host.gate())).toBe(0);
    expect(trace()).toEqual(['unmake b']);
    expect(host.chain().map((line) => JSON.parse(line) as { facts?: object })).toContainEqual(
      expect.objectContaining({
        kind: 'undo-left',
        facts: expect.objectContaining({ command: 'unkeyed', code: 'secret-gone' }),
      }),
    );
  });
});
