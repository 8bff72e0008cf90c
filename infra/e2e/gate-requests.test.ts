/** What a caller who was let in asks of a gate in vain over a real sshd (group G of the attacks): other words than granted. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Invocation } from '@beacon/protocol/gate-request';
import { generateKey } from '@beacon/ssh';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { GateConnection } from '../lab/gate-connection.ts';
import { type Asked, type Certified, type CertifyOptions, invocation } from '../lab/throw-away-ca.ts';
import { describeOnHost, touch } from './attacked-host.ts';

describeOnHost('a request at a gate', (attacked) => {
  beforeAll(async () => {
    const { host } = attacked;
    const plain = { summary: 'for a test', timeout_seconds: 60, run_as: 'beacon-setup' };
    await attacked.allow({
      say: {
        ...plain,
        argv: [await host.command('say', 'printf "%s|" "$#" "$@"; cat'), '{word}'],
        params: {
          word: { pattern: '.{0,200}' },
          token: { pattern: '[a-z]{1,20}', secret: true },
        },
      },
      hang: { ...plain, argv: [await host.command('hang', 'echo started; exec sleep 4300')] },
      flood: { ...plain, argv: ['/usr/bin/yes'], max_output_bytes: 1_000_000_000 },
    });
  }, 120_000);

  const say = (word: string): Invocation => invocation('say', { word }, { token: 'abc' });
  const open = async (asked: readonly Asked[], certify: CertifyOptions = {}) => {
    const certified = await attacked.host.ca.certify(asked, certify);
    return { certified, connection: await GateConnection.open(attacked.host.lab, certified) };
  };
  const replace = (connection: GateConnection, { blob }: Certified) =>
    connection.find(
      (
        (id) => (event) =>
          (event.event === 'refused' || event.event === 'replaced') && event.id === id
      )(connection.send({ kind: 'certificate', blob })) as (
        event: GateConnection['events'][number],
      ) => event is GateConnection['events'][number],
    );
  const codes = (connection: GateConnection): string[] =>
    connection.events.flatMap((event) => (event.event === 'refused' ? [event.code] : []));

  test('G12: every value is one argument or is refused, whatever a program would make of it', async () => {
    const harmless = [
      '@/etc/passwd',
      'file:///etc/passwd',
      'ext::sh -c id',
      '$(id)',
      '`id`',
      'a; id',
      '..',
      '{word}',
    ];
    const options = [
      '-rf',
      '--output=/etc/x',
      '-oProxyCommand=id',
      '--checkpoint-action=exec=id',
      '--upload-pack=id',
    ];
    const control = ['a\nb', 'a\u0000b', 'a\u001bb'];
    const asked = [...harmless, ...options, ...control].map((word) => ({ asked: say(word) }));
    const { connection } = await open(asked);
    for (const one of asked) await connection.run(one);
    await connection.end();
    expect(connection.output()).toBe(harmless.map((word) => `1|${word}|abc\n`).join(''));
    expect(codes(connection)).toEqual([...options, ...control].map(() => 'value-refused'));
  });

  describe('other than policy saw it', () => {
    const granted = say('granted');
    const without = (secrets: Invocation['secrets']): Invocation => ({ ...granted, secrets });
    test.each<[string, Invocation, string]>([
      ['another value', { ...granted, params: '{"word":"other"}' }, 'arguments-differ'],
      ['another text of the same value', { ...granted, params: '{"word": "granted"}' }, 'arguments-differ'],
      ['one parameter more', { ...granted, params: '{"word":"granted","more":"x"}' }, 'arguments-differ'],
      ['another salt', { ...granted, salt: Buffer.alloc(32, 1) }, 'arguments-differ'],
      ['no secret', without(new Map()), 'arguments-differ'],
      [
        'another secret',
        without(new Map([['token', { salt: Buffer.alloc(32), value: 'xyz' }]])),
        'arguments-differ',
      ],
      [
        'the secret as a public one',
        { ...without(new Map()), params: '{"word":"granted","token":"abc"}' },
        'arguments-differ',
      ],
      ['another command', { ...granted, command: 'hang' }, 'command-not-granted'],
    ])('is refused: %s', async (_, asked, code) => {
      const { connection } = await open([{ asked: granted }]);
      expect(await connection.run({ asked })).toMatchObject({ event: 'refused', code });
      expect(await connection.run({ asked: granted })).toMatchObject({ event: 'exit', code: 0 });
      await connection.end();
    });

    test('G20: granted, but not as this host has it: a secret that was declared public, the reverse, and a stranger', async () => {
      const asked: Asked[] = [
        { asked: invocation('say', { word: 'a', token: 'abc' }) },
        { asked: invocation('say', {}, { word: 'a', token: 'abc' }) },
        { asked: invocation('say', { word: 'a', more: 'x' }, { token: 'abc' }) },
        { asked: invocation('say', {}, { token: 'abc' }) },
        { asked: invocation('nowhere') },
      ];
      const { connection } = await open(asked);
      for (const one of asked) await connection.run(one);
      await connection.end();
      expect(codes(connection)).toEqual([
        'parameter-secret',
        'parameter-not-secret',
        'parameter-unknown',
        'parameter-missing',
        'command-not-allowed',
      ]);
      expect(connection.output()).toBe('');
    });
  });

  test('a grant is replaced for the same key, session and person, and starts each command once all the same', async () => {
    const hello = { asked: say('hello') };
    const { certified, connection } = await open([hello]);
    await connection.run(hello);
    const { key, grant } = certified;
    const again = await attacked.host.ca.certify([hello], { key, grant: { grant: grant.grant } });
    const others: CertifyOptions[] = [
      {},
      { key, grant: { session: 'A'.repeat(43) } },
      {
        key,
        grant: { grant: grant.grant, person: 'github:1' },
        fields: { keyId: `beacon/${grant.grant}/github:1` },
      },
      { key, ca: generateKey('ssh-ed25519') },
    ];
    const refused: string[] = [];
    for (const other of others) {
      const answer = await replace(connection, await attacked.host.ca.certify([touch], other));
      refused.push(answer.event === 'refused' ? answer.code : answer.event);
    }
    expect(refused).toEqual([
      'replacement-refused',
      'replacement-refused',
      'replacement-refused',
      'certificate-unknown-authority',
    ]);
    expect(await replace(connection, again)).toMatchObject({ event: 'replaced' });
    expect(await connection.run(hello)).toMatchObject({ event: 'refused', code: 'already-started' });
    expect(await connection.run(touch)).toMatchObject({ event: 'refused', code: 'command-not-granted' });
    const next = { asked: say('next') };
    expect(await replace(connection, await attacked.host.ca.certify([next], { key }))).toMatchObject({
      event: 'replaced',
    });
    expect(await connection.run(next)).toMatchObject({ event: 'exit', code: 0 });
    expect(await replace(connection, again)).toMatchObject({ event: 'refused', code: 'certificate-used' });
    await connection.end();
  });

  test('G7: a grant that has ended starts nothing, though the connection is there', async () => {
    const seconds = BigInt(Math.floor(Date.now() / 1000));
    const { connection } = await open([touch], { fields: { validBefore: seconds + 12n } });
    await connection.hello();
    // A timer may be early by a millisecond.
    await delay(Math.max(0, Number(seconds + 12n) * 1000 - Date.now()) + 20);
    connection.start(touch);
    await connection.ended;
    const said = connection.events.slice(1).map(({ event }) => event);
    // That it is there a gate says every ten seconds.
    expect(said.filter((event) => event !== 'alive')).toEqual(
      codes(connection).length > 0 ? ['refused', 'closed'] : ['closed'],
    );
  });

  test('G7: a certificate that is revoked between two commands starts nothing more', async () => {
    const { certified, connection } = await open([touch]);
    await connection.hello();
    await attacked.host.publish({ revoked: [certified.serial] });
    expect(await connection.run(touch)).toMatchObject({ event: 'refused', code: 'certificate-revoked' });
    await connection.end();
    await attacked.host.publish();
  });

  test('R7: a client that reads nothing cannot keep a revoked command from being stopped', async () => {
    const flood = { asked: invocation('flood') };
    const { certified, connection } = await open([flood]);
    connection.start(flood);
    await connection.says('y\n');
    connection.process.kill('SIGSTOP');
    await delay(1_000);
    await attacked.host.publish({ revoked: [certified.serial] });
    const runs = async (): Promise<boolean> =>
      (await attacked.host.lab.exec(['pgrep', '-x', 'yes'])).status === 0;
    for (let tries = 0; tries < 400 && (await runs()); tries++) await delay(100);
    expect(await runs()).toBe(false);
    connection.process.kill('SIGKILL');
    await connection.ended;
    await attacked.host.publish();
  });
});
