import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GateEvent } from '@beacon/protocol/gate-event';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Asked, invocation, SmallHost } from './small-host.ts';

let host: SmallHost;

/** What the host's own scripts wrote, one line a call, oldest first. */
const trace = (): string[] => {
  try {
    return readFileSync(join(host.folder, 'trace/calls'), 'utf8').trimEnd().split('\n');
  } catch {
    return [];
  }
};

/** Processes that have this text among their arguments. */
function processesWith(text: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(text);
    } catch {
      return false;
    }
  });
}

beforeEach(async () => {
  host = await SmallHost.open();
  host.openFolder('trace');
  const plain = { timeout_seconds: 20, run_as: 'worker', summary: 'for a test' };
  const name = { pattern: '[a-z0-9-]{1,40}' };
  const say = (text: string) => `echo "${text} $1" >>${host.folder}/trace/calls`;
  const one = (script: string, body: string, more: object = {}) => ({
    ...plain,
    argv: [host.script(script, body), '{name}'],
    params: { name },
    ...more,
  });
  host.allow({
    version: 1,
    commands: {
      greet: one('greet', 'echo "hello $1"; echo oops >&2'),
      make: one('make', say('make'), { undo: 'unmake' }),
      unmake: one('unmake', say('unmake')),
      other: one('other', say('other'), { undo: 'unother' }),
      unother: one('unother', say('unother')),
      fail: one('fail', `${say('fail')}; exit 3`, { undo: 'unmake' }),
      hang: one('hang', `${say('hang')}; setsid sleep 4242 & echo started; sleep 4242`, { undo: 'unmake' }),
      brief: one('brief', 'sleep 4242', { timeout_seconds: 1 }),
      once: one('once', 'echo started; sleep 4242', { exclusive: 'name' }),
      flood: one('flood', 'head -c 3000000 /dev/zero | tr "\\0" x', { max_output_bytes: 1000 }),
      bytes: one('bytes', `printf '\\303\\244\\377\\303'; sleep 0.2; printf '\\251'`),
      orphan: one('orphan', 'setsid sleep 4243 & echo done'),
      environment: one('environment', 'env | sort; ls -l /proc/self/fd | grep -c socket; umask'),
      secret: {
        ...plain,
        argv: [host.script('secret', 'read -r token; printf %s "$token" | wc -c; [ -z "$1" ]')],
        params: { token: { pattern: '[a-z0-9-]{1,60}', secret: true } },
      },
    },
  });
});
afterEach(() => host.close());

const asking = (command: string, name = 'a', undo?: string): Asked => ({
  asked: invocation(command, { name }),
  ...(undo === undefined ? {} : { undo: invocation(undo, { name }) }),
});

const talk = (events: readonly GateEvent[]): string[] =>
  events.map(({ event }) => event).filter((event) => event !== 'stdout' && event !== 'stderr');

describe('a session', () => {
  it('runs a command that was granted, streams what it writes and records it before and after', async () => {
    const greet = asking('greet', 'ada');
    const { blob } = await host.certify([greet]);
    const client = host.session(blob);
    const exit = await client.run(greet);
    expect(client.output()).toBe('hello ada\n');
    expect(client.output('stderr')).toBe('oops\n');
    expect(exit).toMatchObject({ event: 'exit', code: 0, signal: null, why: 'ended' });
    expect(await client.end()).toBe('ended');
    expect(talk(client.events)).toEqual(['hello', 'started', 'exit', 'closed']);
    expect(host.kinds()).toEqual([
      'trust-advanced',
      'session-opened',
      'command-started',
      'command-ended',
      'session-closed',
    ]);
  });

  it('builds the environment of a command from nothing, and hands on no descriptor', async () => {
    process.env['PLANTED'] = 'planted';
    const asked = asking('environment');
    const client = host.session((await host.certify([asked])).blob);
    await client.run(asked);
    const names = client.output().match(/^[A-Z_]+(?==)/gm);
    delete process.env['PLANTED'];
    expect(names).toEqual(expect.arrayContaining(['BEACON_GRANT', 'BEACON_PERSON', 'HOME', 'LANG', 'PATH']));
    expect(
      names?.filter((name) => !/^(BEACON_[A-Z]+|HOME|LANG|PATH|PWD|OLDPWD|SHLVL|_)$/.test(name)),
    ).toEqual([]);
    expect(client.output()).toMatch(/\n0077\n$/);
    await client.end();
  });

  it('L7: gives a secret to the command on its standard input, and writes it nowhere', async () => {
    const canary = 'canary-7c1f0b6c2f9e4a1d';
    const secret: Asked = { asked: invocation('secret', {}, { token: canary }) };
    const client = host.session((await host.certify([secret])).blob);
    const exit = await client.run(secret);
    expect(exit).toMatchObject({ code: 0 });
    expect(client.output()).toBe(`${canary.length}\n`);
    await client.end();
    const written = readdirSync(host.folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'));
    expect(written.filter((text) => text.includes(canary))).toEqual([]);
  });

  it('R6: cuts output at the bound, says so, and lets the command end', async () => {
    const flood = asking('flood');
    const client = host.session((await host.certify([flood])).blob);
    expect(await client.run(flood)).toMatchObject({ code: 0 });
    expect(client.output()).toHaveLength(1000);
    expect(client.events.filter(({ event }) => event === 'truncated')).toHaveLength(1);
    await client.end();
  });

  it('R6: carries bytes that are not UTF-8 as base64, and a character cut in two as one', async () => {
    const bytes = asking('bytes');
    const client = host.session((await host.certify([bytes])).blob);
    await client.run(bytes);
    const parts = client.events.flatMap((event) => (event.event === 'stdout' ? [event] : []));
    expect(parts).toMatchObject([
      { base64: Buffer.from([0xc3, 0xa4, 0xff]).toString('base64') },
      { text: 'é' },
    ]);
    await client.end();
  });

  it('G17: leaves nothing running when a command ends, and does not wait for what it left', async () => {
    const orphan = asking('orphan');
    const client = host.session((await host.certify([orphan])).blob);
    expect(await client.run(orphan)).toMatchObject({ code: 0 });
    expect(processesWith('sleep\0' + '4243')).toEqual([]);
    await client.end();
  });

  it('G17: ends a command at its timeout, with the processes that called setsid', async () => {
    const brief = asking('brief');
    const client = host.session((await host.certify([brief])).blob);
    expect(await client.run(brief)).toMatchObject({ why: 'timeout' });
    expect(processesWith('sleep\0' + '4242')).toEqual([]);
    await client.end();
  });
});

describe('a request', () => {
  const refused = async (request: Asked, granted: readonly Asked[]): Promise<unknown> => {
    const client = host.session((await host.certify(granted)).blob);
    const answer = await client.run(request);
    await client.cut();
    expect(trace()).toEqual([]);
    expect(host.kinds().filter((kind) => kind === 'command-started')).toEqual([]);
    expect(host.kinds()).toContain('command-refused');
    return answer.event === 'refused' ? answer.code : answer;
  };

  it('for another command than those of the grant is refused', async () => {
    expect(await refused(asking('other'), [asking('make')])).toBe('command-not-granted');
  });

  it('with other arguments than those that policy saw is refused', async () => {
    const asked = invocation('make', { name: 'a' });
    expect(await refused({ asked: { ...asked, params: '{"name":"b"}' } }, [{ asked }])).toBe(
      'arguments-differ',
    );
  });

  it('with the same arguments in another spelling, or another salt, is refused', async () => {
    const asked = invocation('make', { name: 'a' });
    expect(await refused({ asked: { ...asked, params: '{ "name":"a"}' } }, [{ asked }])).toBe(
      'arguments-differ',
    );
    expect(await refused(asking('make'), [asking('make')])).toBe('arguments-differ');
  });

  it('that declares a secret parameter public is refused, although the grant says so too', async () => {
    const asked = { asked: invocation('secret', { token: 'abc' }) };
    expect(await refused(asked, [asked])).toBe('parameter-secret');
  });

  it('that declares a public parameter secret is refused, although the grant says so too', async () => {
    const asked = { asked: invocation('make', {}, { name: 'abc' }) };
    expect(await refused(asked, [asked])).toBe('parameter-not-secret');
  });

  it('with a secret other than the one committed to is refused', async () => {
    const asked = invocation('secret', {}, { token: 'abc' });
    const [salt] = [...asked.secrets.values()].map((secret) => secret.salt);
    const swapped = {
      ...asked,
      secrets: new Map([['token', { salt: salt ?? Buffer.alloc(32), value: 'abd' }]]),
    };
    expect(await refused({ asked: swapped }, [{ asked }])).toBe('arguments-differ');
  });

  it.each([
    [{}, 'parameter-missing'],
    [{ name: 'a', nmae: 'a' }, 'parameter-unknown'],
    [{ name: 'a', constructor: 'a' }, 'parameter-unknown'],
    [{ name: '-a' }, 'value-refused'],
    [{ name: '--output=/etc/passwd' }, 'value-refused'],
    [{ name: 'A' }, 'value-refused'],
    [{ name: 'a;id' }, 'value-refused'],
    [{ name: 'a\nb' }, 'value-refused'],
    [{ name: 'a b' }, 'value-refused'],
    [{ name: '' }, 'value-refused'],
  ])('G12: with the parameters %j is refused as %s', async (params, code) => {
    const asked = { asked: invocation('make', params as Record<string, string>) };
    expect(await refused(asked, [asked])).toBe(code);
  });

  it('G20: for a command that is granted but not on the host’s list is refused', async () => {
    const asked = { asked: invocation('absent', {}) };
    expect(await refused(asked, [asked])).toBe('command-not-allowed');
  });

  it('with an undo that was not granted, or without the one that was, is refused', async () => {
    const granted = asking('make', 'a', 'unmake');
    expect(await refused({ asked: granted.asked }, [granted])).toBe('undo-differs');
    const plain = asking('make');
    expect(await refused({ ...plain, undo: invocation('unmake', { name: 'a' }) }, [plain])).toBe(
      'undo-differs',
    );
    expect(await refused({ ...granted, undo: invocation('unmake', { name: 'b' }) }, [granted])).toBe(
      'undo-differs',
    );
  });

  it('with an undo that the host’s list does not name for it is refused, although it was granted', async () => {
    const granted = asking('make', 'a', 'unother');
    expect(await refused(granted, [granted])).toBe('undo-differs');
  });

  it('for a command whose undo could not run is refused before anything starts', async () => {
    const granted: Asked = {
      asked: invocation('make', { name: 'a' }),
      undo: invocation('unmake', { name: 'A' }),
    };
    expect(await refused(granted, [granted])).toBe('value-refused');
  });

  it('after the grant’s end is refused', async () => {
    const make = asking('make');
    const client = host.session((await host.certify([make], { lifetimeSeconds: 60 })).blob);
    host.clock += 60_000;
    expect(await client.run(make)).toMatchObject({ event: 'refused', code: 'grant-ended' });
    expect(await client.ended).toBe('idle');
  });

  it('under a revocation that came while connected is refused', async () => {
    const make = asking('make');
    const { blob, serial } = await host.certify([make]);
    const client = host.session(blob);
    await host.publish({ revoked: [serial] });
    expect(await client.run(make)).toMatchObject({ event: 'refused', code: 'certificate-revoked' });
    await client.cut();
  });

  it('that is no request is refused with the rule, and the session goes on', async () => {
    const greet = asking('greet');
    const client = host.session((await host.certify([greet])).blob);
    for (const line of [
      '',
      '{}',
      '{"v":1,"v":1}',
      '[]',
      'ls',
      '{"v":2,"id":1,"end":true}',
      '{"v":1,"id":1,"end":1}',
    ]) {
      client.write(line);
    }
    expect(await client.run(greet)).toMatchObject({ code: 0 });
    const codes = client.events.flatMap((event) => (event.event === 'refused' ? [event.code] : []));
    expect(codes).toEqual([
      'json-syntax',
      'gate-line-malformed',
      'json-doubled-key',
      'gate-line-malformed',
      'json-syntax',
      'gate-line-malformed',
      'gate-line-malformed',
    ]);
    await client.end();
  });

  it('longer than 64 KiB ends the session', async () => {
    const client = host.session((await host.certify([asking('greet')])).blob);
    client.write('x'.repeat(70_000));
    expect(await client.ended).toBe('lost');
  });
});

describe('at most once', () => {
  it('A9: a command of a grant starts once, in this session and in every other', async () => {
    const make = asking('make');
    const { blob, grant } = await host.certify([make]);
    const first = host.session(blob);
    expect(await first.run(make)).toMatchObject({ code: 0 });
    expect(await first.run(make)).toMatchObject({ event: 'refused', code: 'already-started' });
    await first.end();
    const again = host.session((await host.certify([make], { grant: { grant: grant.grant } })).blob);
    expect(await again.run(make)).toMatchObject({ event: 'refused', code: 'already-started' });
    await again.end();
    expect(trace()).toEqual(['make a']);
  });

  it('a grant that names the same command twice lets it start twice', async () => {
    const make = asking('make');
    const client = host.session((await host.certify([make, make])).blob);
    expect([await client.run(make), await client.run(make), await client.run(make)]).toMatchObject([
      { code: 0 },
      { code: 0 },
      { code: 'already-started' },
    ]);
    await client.end();
  });

  it('one value is in work once at a time, whoever asks', async () => {
    const [one, two, three] = [asking('once', 'x'), asking('once', 'x'), asking('once', 'y')];
    const first = host.session((await host.certify([one])).blob);
    first.start(one);
    await first.says('started');
    const second = host.session((await host.certify([two, three])).blob);
    expect(await second.run(two)).toMatchObject({ event: 'refused', code: 'busy' });
    second.start(three);
    await second.says('started');
    await first.cut();
    await second.cut();
    expect(processesWith('sleep\0' + '4242')).toEqual([]);
  });
});
