import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Asked, invocation, SmallHost } from './small-host.ts';

let host: SmallHost;
beforeEach(async () => {
  host = await SmallHost.open();
  const plain = { timeout_seconds: 20, run_as: 'worker' };
  const name = { name: { pattern: '[a-z0-9-]{1,20}' } };
  host.allow({
    version: 1,
    commands: {
      greet: {
        summary: 's',
        argv: [host.script('greet', 'echo "hello $1"; echo oops >&2; id -u'), '{name}'],
        params: name,
        ...plain,
      },
      fail: { summary: 's', argv: [host.script('fail', 'exit 3')], ...plain },
    },
  });
});
afterEach(() => host.close());

describe('a session', () => {
  it('runs a command that was granted, streams what it writes and records it before and after', async () => {
    const greet: Asked = { asked: invocation('greet', { name: 'ada' }) };
    const { blob } = await host.certify([greet]);
    const client = host.session(blob);
    const exit = await client.run(greet);
    expect(client.output('stderr')).toBe('oops\n');
    expect(client.output()).toMatch(/^hello ada\n/);
    expect(exit).toMatchObject({ event: 'exit', code: 0, signal: null, why: 'ended' });
    expect(await client.end()).toBe('ended');
    expect(client.events.map(({ event }) => event).filter((e) => e !== 'stdout' && e !== 'stderr')).toEqual([
      'hello',
      'started',
      'exit',
      'closed',
    ]);
    expect(host.kinds()).toEqual([
      'trust-advanced',
      'session-opened',
      'command-started',
      'command-ended',
      'session-closed',
    ]);
  });
});
