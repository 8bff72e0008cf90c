import { describe, expect, it } from '@jest/globals';
import { commandEnvironment, type Launch, unitName } from '../src/execution.ts';
import { parseResult, systemdArguments } from '../src/transient-unit.ts';

describe('a unit’s name', () => {
  it('is one for each value that may be in work only once, and one for each start otherwise', () => {
    expect(unitName('runner.install', 'web-1', 'g-0')).toBe('beacon-runner.install-web-1');
    expect(unitName('runner.install', undefined, 'g-0')).toBe('beacon-runner.install-:g-0');
    expect(unitName('a', ':g-0', 'x')).not.toBe(unitName('a', undefined, 'g-0'));
  });

  it('holds nothing but what a unit’s name may hold, and differs for each value', () => {
    const values = [
      '',
      '/',
      '..',
      '../../x',
      'a b',
      'a@b',
      '%n',
      '$x',
      'é',
      'x'.repeat(101),
      'x'.repeat(102),
      'a\\x2d',
    ];
    const names = values.map((value) => unitName('a', value, 'x'));
    for (const name of names) expect(name).toMatch(/^beacon-a-[A-Za-z0-9_.:-]{1,100}$/);
    expect(new Set(names).size).toBe(values.length);
  });
});

describe('a transient unit', () => {
  const launch: Launch = {
    unit: 'beacon-a-x',
    description: 'beacon a of grant g',
    argv: ['/bin/x', '$HOME', '$${A}', '%n', '--', '-p', ''],
    account: { name: 'beacon-setup', uid: 990, gid: 991, home: '/nonexistent' },
    environment: commandEnvironment('/h', { BEACON_HOST: 'build-01' }),
    stdin: '',
    timeoutSeconds: 30,
    maxTasks: 7,
    maxMemoryBytes: 1_048_576,
  };
  const argv = systemdArguments(launch, '/run/beacon/results/beacon-a-x');

  it('is bounded, waited for, and another account’s', () => {
    expect(argv).toEqual(
      expect.arrayContaining([
        ...['--pipe', '--wait', '--collect', '--unit=beacon-a-x', 'User=beacon-setup', 'Group=991'],
        ...[
          'RuntimeMaxSec=30s',
          'TasksMax=7',
          'MemoryMax=1048576',
          'UMask=0077',
          'KillMode=control-group',
          'LimitCORE=0',
        ],
      ]),
    );
  });

  it('G12: passes arguments behind "--", with what systemd would fill in doubled', () => {
    expect(argv.slice(argv.indexOf('--'))).toEqual([
      ...['--', '/usr/bin/env', '-i', '--'],
      ...['PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/h', 'LANG=C.UTF-8', 'BEACON_HOST=build-01'],
      ...['/bin/x', '$$HOME', '$$$${A}', '%n', '--', '-p', ''],
    ]);
  });

  const ended = (result: string, how: string, status: string): string =>
    `LANG=C.UTF-8\0SERVICE_RESULT=${result}\0EXIT_CODE=${how}\0EXIT_STATUS=${status}\0`;

  it.each([
    [ended('success', 'exited', '0'), { code: 0, signal: null }],
    [ended('exit-code', 'exited', '42'), { code: 42, signal: null }],
    [ended('signal', 'killed', 'TERM'), { code: null, signal: 'SIGTERM' }],
    [ended('core-dump', 'dumped', 'SEGV'), { code: null, signal: 'SIGSEGV' }],
    [ended('timeout', 'killed', 'KILL'), { code: null, signal: 'SIGKILL', limit: 'timeout' }],
    [ended('timeout', 'exited', '0'), { code: 0, signal: null, limit: 'timeout' }],
    [ended('oom-kill', 'killed', 'KILL'), { code: null, signal: 'SIGKILL', limit: 'memory' }],
    ['SERVICE_RESULT=timeout\0', { code: null, signal: 'SIGKILL', limit: 'timeout' }],
    ['', undefined],
    ['LANG=C.UTF-8\0', undefined],
    ['SERVICE_RESULT=success\0EXIT_CODE=exited\0EXIT_STATUS=', undefined],
  ])('reads how it ended: %j', (text, how) => {
    expect(parseResult(text)).toEqual(how);
  });
});
