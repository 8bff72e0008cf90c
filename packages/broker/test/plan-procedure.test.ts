/** Procedures planned against what a host offers: the list that ships for runners, and hosts on which something is amiss. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllowlist } from '@beacon/protocol/allowlist';
import { compilePattern } from '@beacon/protocol/pattern';
import { describe, expect, it, test } from '@jest/globals';
import fc from 'fast-check';
import {
  BUILT_IN_PROCEDURES,
  checkProcedure,
  type HostCommand,
  type Procedure,
  planProcedure,
} from '../src/index.ts';

const LIST = join(import.meta.dirname, '../../host/files/runner-allowlist.json');
const SHA256 = 'a'.repeat(64);

/** As the CA lists them. */
const commands: readonly HostCommand[] = [...parseAllowlist(readFileSync(LIST)).commands.values()].map(
  ({ name, parameters, undo, timeoutSeconds }) => ({
    command: name,
    params: Object.fromEntries(
      [...parameters].map(([key, { pattern, isSecret }]) => [
        key,
        { pattern: pattern.source, ...(isSecret ? { secret: true } : {}) },
      ]),
    ),
    undo,
    timeout_seconds: timeoutSeconds,
  }),
);

function builtIn(name: string): Procedure {
  const found = BUILT_IN_PROCEDURES.get(name);
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found;
}

const provisionParams = { scope: 'acme/site', mode: 'stays', version: '2.336.0', sha256: SHA256 };

function plan(
  name: string,
  params: Record<string, string>,
  more: { commands?: readonly HostCommand[]; secretNames?: string[] } = {},
) {
  return planProcedure(builtIn(name), {
    host: 'build-01.acme.example',
    params,
    secretNames: [],
    commands,
    random: (length) => Buffer.alloc(length, 1),
    ...more,
  });
}

function defectsOf(planned: ReturnType<typeof planProcedure>): string[] {
  return planned.kind === 'refused' ? planned.reason.split('\n') : [];
}

describe('the procedures that are built in', () => {
  test.each([...BUILT_IN_PROCEDURES.values()].map((one) => [one.name, one] as const))(
    '%s has no defect by itself, and begins with a step that needs nothing of GitHub',
    (_, procedure) => {
      expect(checkProcedure(procedure)).toEqual([]);
      expect(procedure.steps[0]?.preparation).toBe('none');
    },
  );

  it('provisions: what goes wrong most comes before GitHub is told, and each step that leaves something is taken back', () => {
    const planned = plan('runner.provision', provisionParams);
    expect(planned).toMatchObject({
      kind: 'planned',
      github: { scope: 'acme/site', runner: 'build-01-acme-example-11111111' },
      params: { labels: 'beacon', group: 'Default', arch: 'x64', mode: 'stays' },
    });
    const steps = planned.kind === 'planned' ? planned.steps : [];
    expect(steps.map(({ command, preparation, undo }) => [command, preparation, undo?.command])).toEqual([
      ['runner.preflight', 'none', 'runner.remove'],
      ['runner.install', 'none', undefined],
      ['runner.configure', 'register', 'runner.remove'],
      ['runner.start', 'none', 'runner.stop'],
      ['runner.status', 'online', undefined],
    ]);
    expect(steps[2]).toMatchObject({
      params: {
        ...{ scope: 'acme/site', group: 'Default', mode: 'stays' },
        labels: 'beacon,beacon-run-1111111111111111',
      },
      secretNames: ['token'],
      timeoutSeconds: 180,
    });
  });

  it('lets the person choose between one job and staying, and chooses nothing', () => {
    const { mode: _, ...rest } = provisionParams;
    expect(defectsOf(plan('runner.provision', rest))).toEqual([
      expect.stringMatching(/^runner\.provision\.mode: it is missing: give it: one-job: .* stays: /),
    ]);
  });

  it('adds its own label to those that the person names, once', () => {
    for (const [labels, sent] of [
      ['gpu', 'gpu,beacon'],
      ['beacon,gpu', 'beacon,gpu'],
    ])
      expect(plan('runner.provision', { ...provisionParams, labels: labels ?? '' })).toMatchObject({
        params: { labels: sent },
      });
  });

  it('retires: GitHub lets go of the runner before it is stopped', () => {
    const planned = plan('runner.retire', { scope: 'acme', name: 'web-1' });
    expect(planned).toMatchObject({
      github: { scope: 'acme', runner: 'web-1' },
      params: { wait_seconds: '30' },
      steps: [
        { command: 'runner.status', preparation: 'none' },
        { command: 'runner.stop', preparation: 'drain', params: { name: 'web-1' } },
        { command: 'runner.remove', preparation: 'none' },
      ],
    });
  });

  it('upgrades: the new one is installed before the old one is touched, and has another name', () => {
    const planned = plan('runner.upgrade', {
      ...{ scope: 'acme', name: 'web-1', labels: 'beacon', group: 'Default' },
      ...{ version: '2.337.0', sha256: SHA256 },
    });
    const made = 'build-01-acme-example-11111111';
    expect(planned).toMatchObject({ kind: 'planned', github: { scope: 'acme', runner: made } });
    const steps = planned.kind === 'planned' ? planned.steps : [];
    expect(steps.map(({ command, preparation, params }) => [command, preparation, params['name']])).toEqual([
      ['runner.preflight', 'none', made],
      ['runner.install', 'none', made],
      ['runner.status', 'none', 'web-1'],
      ['runner.stop', 'drain', 'web-1'],
      ['runner.remove', 'none', 'web-1'],
      ['runner.configure', 'register', made],
      ['runner.start', 'none', made],
      ['runner.status', 'online', made],
    ]);
  });
});

describe('refuses, with place and remedy,', () => {
  test.each<[string, string, Record<string, string>, RegExp]>([
    [
      'a parameter that the procedure has not',
      'runner.provision',
      { ...provisionParams, label: 'x' },
      /^runner\.provision\.label: runner\.provision has no such parameter \(did you mean "labels"\?\): it has scope, /,
    ],
    [
      'a value that its pattern does not take',
      'runner.provision',
      { ...provisionParams, scope: 'acme/site/more' },
      /^runner\.provision\.scope: its value does not match .*: give another: where at GitHub/,
    ],
    [
      'what GitHub was to say and did not',
      'runner.provision',
      { scope: 'acme', mode: 'stays' },
      /^runner\.provision\.version: it is missing: .*\nrunner\.provision\.sha256: it is missing/,
    ],
  ])('%s', (_, name, params, said) => {
    const planned = plan(name, params);
    expect(planned.kind === 'refused' ? planned.reason : '').toMatch(said);
  });

  const without = (name: string) => commands.filter(({ command }) => command !== name);
  const changed = (name: string, change: Partial<HostCommand>) =>
    commands.map((one) => (one.command === name ? { ...one, ...change } : one));

  test.each<[string, readonly HostCommand[], RegExp]>([
    [
      'a host without one of the commands',
      without('runner.start'),
      /^runner\.provision\.steps\[3\]: build-01\.acme\.example has no command runner\.start.*: .*beacon host init --runners COUNT$/,
    ],
    [
      'a host without what takes a step back',
      without('runner.stop'),
      /steps\[3\]\.undo: build-01\.acme\.example has no command runner\.stop/,
    ],
    [
      'a host that lets something else take a step back',
      changed('runner.start', { undo: 'runner.remove' }),
      /steps\[3\]\.undo: the host lets runner\.remove take runner\.start back, not runner\.stop: put "undo": "runner\.stop"/,
    ],
    [
      'a host whose pattern is narrower',
      changed('runner.status', { params: { name: { pattern: 'web-[0-9]' } } }),
      /steps\[4\]\.params\.name: the host takes only web-\[0-9\]: give another value/,
    ],
    [
      'a host that wants more',
      changed('runner.status', { params: { name: { pattern: '.+' }, why: { pattern: '.+' } } }),
      /steps\[4\]\.params\.why: runner\.status wants it on this host: add it to the step/,
    ],
    [
      'a host that wants less',
      changed('runner.status', { params: {} }),
      /steps\[4\]\.params\.name: runner\.status has no such parameter on this host: take it out/,
    ],
    [
      'a host on which the token would be written down',
      commands.map((one) =>
        one.command === 'runner.configure'
          ? { ...one, params: { ...one.params, token: { pattern: '.+' } } }
          : one,
      ),
      /steps\[2\]\.params\.token: the host does not call it secret: .*both must say the same/,
    ],
    [
      'a host that wants a secret where the procedure has none',
      changed('runner.status', { params: { name: { pattern: '.+', secret: true } } }),
      /steps\[4\]\.params\.name: the host calls it secret/,
    ],
    [
      'a host whose pattern nobody can read',
      changed('runner.status', { params: { name: { pattern: '(' } } }),
      /steps\[4\]\.params\.name: the host takes only \(/,
    ],
  ])('%s', (_, offered, said) => {
    const [only, ...more] = defectsOf(plan('runner.provision', provisionParams, { commands: offered }));
    expect(only).toMatch(said);
    expect(more).toEqual([]);
  });

  it('a secret that is none of the procedure', () => {
    expect(defectsOf(plan('runner.provision', provisionParams, { secretNames: ['token'] }))).toEqual([
      expect.stringMatching(/^runner\.provision\.token: runner\.provision has no such secret/),
    ]);
  });

  it('names all that is wrong at once', () => {
    expect(defectsOf(plan('runner.provision', { mode: 'for ever' }, { commands: [] }))).toHaveLength(
      4 + 5 + 3,
    );
  });
});

/** Compiled once: the property below asks them often. */
const patterns = new Map(
  commands.flatMap(({ params }) =>
    Object.values(params).map(({ pattern }) => [pattern, compilePattern(pattern)]),
  ),
);

test('R9: whatever a person gives, what is planned is exactly what the host takes, and all else is refused', () => {
  const name = fc.oneof(fc.constantFrom(...builtIn('runner.provision').parameters.keys()), fc.string());
  const value = fc.oneof(
    fc.constantFrom(
      'stays',
      '--replace',
      '-oProxyCommand=x',
      'a\u0000b',
      'a\nb',
      '../..',
      '$(id)',
      '{scope}',
      '',
    ),
    fc.string({ unit: 'binary' }),
  );
  const given = fc.dictionary(name, value, { maxKeys: 4 });
  fc.assert(
    fc.property(given, fc.boolean(), (params, isBased) => {
      const planned = plan('runner.provision', isBased ? { ...provisionParams, ...params } : params);
      if (planned.kind === 'refused') return planned.defects.length > 0;
      return planned.steps.every(({ command, params: values, secretNames }) => {
        const wanted = commands.find((one) => one.command === command)?.params ?? {};
        const names = [...Object.keys(values), ...secretNames].sort();
        const isWhole = JSON.stringify(names) === JSON.stringify(Object.keys(wanted).sort());
        return (
          isWhole &&
          Object.entries(values).every(
            ([key, text]) => patterns.get(wanted[key]?.pattern ?? '')?.matches(text) === true,
          )
        );
      });
    }),
    { numRuns: 50 },
  );
});
