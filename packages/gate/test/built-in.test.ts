import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Asked, invocation, SmallHost } from './small-host.ts';

let host: SmallHost;
beforeEach(async () => {
  host = await SmallHost.open();
  const plain = { summary: 's', timeout_seconds: 20, run_as: 'worker' };
  host.allow({
    version: 1,
    commands: {
      fine: { ...plain, argv: [host.script('fine', 'exit 0')], undo: 'unfine' },
      unfine: { ...plain, argv: [host.script('unfine', 'exit 5')] },
      fail: { ...plain, argv: [host.script('fail', 'exit 3')], undo: 'unfail' },
      unfail: { ...plain, argv: [host.script('unfail', 'exit 0')] },
    },
  });
});
afterEach(() => host.close());

const fine: Asked = { asked: invocation('fine'), undo: invocation('unfine') };
const fail: Asked = { asked: invocation('fail'), undo: invocation('unfail') };

describe('a built-in command', () => {
  it('tells what a grant started, ended and undid, and its records as they stand', async () => {
    const first = await host.certify([fine, fail]);
    const { grant } = first.grant;
    const run = host.session(first.blob);
    await run.run(fine);
    await run.run(fail);
    await run.end();
    const questions = (['gate.state', 'gate.records'] as const).map((name) => ({
      asked: invocation(name, { grant }),
    }));
    const later = host.session((await host.certify(questions)).blob);
    for (const question of questions)
      expect(await later.run(question)).toMatchObject({ event: 'exit', code: 0 });
    await later.end();
    expect(JSON.parse(later.output('stdout', 1))).toEqual({
      v: 1,
      grant,
      commands: [
        { index: 0, command: 'fine', state: 'undo-failed', why: 'ended', code: 5, signal: null },
        { index: 1, command: 'fail', state: 'undone', why: 'ended', code: 0, signal: null },
      ],
    });
    const own = host.chain().filter((line) => line.includes(`"grant":"${grant}","facts"`));
    expect(later.output('stdout', 2)).toBe(`${own.join('\n')}\n`);
  });

  it('R8: says that what has ended may be taken back still, while its session waits for a last word', async () => {
    const first = await host.certify([fine]);
    const { grant } = first.grant;
    const run = host.session(first.blob);
    await run.run(fine);
    const ask = async (): Promise<unknown> => {
      const question = { asked: invocation('gate.state', { grant }) };
      const later = host.session((await host.certify([question])).blob);
      await later.run(question);
      await later.end();
      return JSON.parse(later.output('stdout', 1));
    };
    expect(await ask()).toMatchObject({ commands: [{ state: 'unsettled', why: 'ended', code: 0 }] });
    await run.end();
    expect(await ask()).toMatchObject({ commands: [{ state: 'ended', why: 'ended', code: 0 }] });
  });

  it('is answered after a failed step too, but only if it was granted, and once', async () => {
    const asked = { asked: invocation('gate.state', { grant: '01hzzzzzzz0123456789abcdef' }) };
    const client = host.session((await host.certify([fail, asked])).blob);
    await client.run(fail);
    expect(await client.run(asked)).toMatchObject({ event: 'exit', code: 0 });
    expect(await client.run(asked)).toMatchObject({ code: 'already-started' });
    expect(
      await client.run({ asked: invocation('gate.records', { grant: '01hzzzzzzz0123456789abcdef' }) }),
    ).toMatchObject({
      code: 'command-not-granted',
    });
    await client.end();
  });

  it.each([
    [{}, 'parameter-missing'],
    [{ grant: 'x' }, 'value-refused'],
    [{ grant: '01hzzzzzzz0123456789abcdef', more: 'x' }, 'parameter-unknown'],
  ])('is refused with the parameters %j', async (params, code) => {
    const asked = { asked: invocation('gate.state', params as Record<string, string>) };
    const client = host.session((await host.certify([asked])).blob);
    expect(await client.run(asked)).toMatchObject({ event: 'refused', code });
    await client.cut();
  });
});
