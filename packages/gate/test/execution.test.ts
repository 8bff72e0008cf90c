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

  it.each([
    ['success exited 0\n', { code: 0, signal: null }],
    ['exit-code exited 42\n', { code: 42, signal: null }],
    ['signal killed TERM\n', { code: null, signal: 'SIGTERM' }],
    ['core-dump dumped SEGV\n', { code: null, signal: 'SIGSEGV' }],
    ['timeout killed KILL\n', { code: null, signal: 'SIGKILL', limit: 'timeout' }],
    ['timeout exited 0\n', { code: 0, signal: null, limit: 'timeout' }],
    ['oom-kill killed KILL\n', { code: null, signal: 'SIGKILL', limit: 'memory' }],
    ['timeout  \n', { code: null, signal: 'SIGKILL', limit: 'timeout' }],
    ['', undefined],
    ['success exited', undefined],
  ])('reads how it ended: %j', (text, how) => {
    expect(parseResult(text)).toEqual(how);
  });
});
