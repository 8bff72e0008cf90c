import type { CommandProspect, PolicyEngine } from '@beacon/policy';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { engineOf, host, memberOf, plain } from './world.ts';

const permit = (when: string, more = '') =>
  `@id("p${more.length}-${when.length}") permit (principal, action == Action::"runner.install", resource) ${when === '' ? '' : `when { ${when} }`} ${more};`;
const forbid = (when: string) =>
  `forbid (principal, action == Action::"runner.install", resource) when { ${when} };`;

const prospect: CommandProspect = {
  person: { id: 'github:1', teams: memberOf(), organizations: memberOf() },
  host: host('build-01'),
  login: 'beacon',
  lifetimeSeconds: 30,
  command: 'runner.install',
  service: 'portal',
  sourceAddress: '192.0.2.7',
  now: plain.now,
};

function foreseen(texts: readonly string[], change: Partial<CommandProspect> = {}) {
  const engine = engineOf(...texts);
  const asked = { ...prospect, ...change };
  const { allowed, reason, missing } = engine.foresee(asked);
  expect(engine.mayAllow(asked)).toBe(allowed !== 'no');
  engine.close();
  return { allowed, code: reason.code, missing };
}

describe('what is foreseen of a command without its parameters', () => {
  test.each<[string, readonly string[], string]>([
    ['no policy', [], 'no'],
    ['a permit that asks nothing of parameters', [permit('context.login == "beacon"')], 'yes'],
    ['one for another login', [permit('context.login == "deploy"')], 'no'],
    ['a permit for some parameters', [permit('context.params.name == "r1"')], 'depends'],
    [
      'one for some parameters elsewhere',
      [permit('context.params.name == "r1" && context.login == "deploy"')],
      'no',
    ],
    [
      'either a login or a parameter',
      [permit('context.params.name == "r1" || context.login == "deploy"')],
      'depends',
    ],
    ['a sure permit beside one for parameters', [permit(''), permit('context.params.name == "r1"')], 'yes'],
    ['a forbid of some parameters', [permit(''), forbid('context.params.name == "r1"')], 'depends'],
    [
      'a forbid of parameters elsewhere',
      [permit(''), forbid('context.params.name == "r1" && context.login == "root"')],
      'yes',
    ],
    [
      'a forbid that asks nothing of parameters',
      [permit('context.params.name == "r1"'), forbid('context.login == "beacon"')],
      'no',
    ],
    ['an unless with a parameter', [permit('', 'unless { context.params.name == "r1" }')], 'depends'],
    [
      'an unless that is so anyway',
      [permit('', 'unless { context.params.name == "r1" || context.login == "beacon" }')],
      'no',
    ],
    [
      'a condition of two halves',
      [permit('if context.login == "beacon" then context.params.name == "r1" else true')],
      'depends',
    ],
  ])('%s', (_what, texts, allowed) => {
    expect(foreseen(texts).allowed).toBe(allowed);
  });

  test('a denial says why, and what would help', () => {
    expect(foreseen([permit('')], { command: 'runner.stat' })).toMatchObject({
      allowed: 'no',
      code: 'command',
    });
    expect(foreseen([permit('')], { command: 'ssh' })).toMatchObject({ code: 'command' });
    expect(foreseen([permit('')], { login: 'root' })).toMatchObject({ code: 'login' });
    const team =
      '@id("t") permit (principal in Team::"github:42", action == Action::"runner.install", resource) when { context.params.name == "r1" };';
    expect(foreseen([team])).toMatchObject({
      code: 'no-permit',
      missing: [{ kind: 'team', id: 'github:42' }],
    });
  });

  test('is never at odds with a decision on any parameters', () => {
    const name = fc.constantFrom('r1', 'r2');
    const login = fc.constantFrom('beacon', 'deploy');
    const atom = fc.oneof(
      name.map((value) => `context.params.name == "${value}"`),
      login.map((value) => `context.login == "${value}"`),
      name.map((value) => `(context.params.name != "${value}" || context.login == "beacon")`),
    );
    const body = fc
      .array(fc.tuple(atom, fc.constantFrom('&&', '||')), { minLength: 1, maxLength: 3 })
      .map((parts) => parts.map(([text, joint], at) => (at === 0 ? text : `${joint} ${text}`)).join(' '));
    const policy = fc
      .tuple(fc.constantFrom('permit', 'permit', 'forbid'), fc.constantFrom('when', 'unless'), body)
      .map(
        ([effect, kind, text]) =>
          `${effect} (principal, action == Action::"runner.install", resource) ${kind} { ${text} };`,
      );
    fc.assert(
      fc.property(fc.array(policy, { minLength: 1, maxLength: 4 }), login, (texts, as) => {
        let engine: PolicyEngine;
        try {
          engine = engineOf(...texts);
        } catch {
          // What can never match is refused when it is loaded.
          return;
        }
        const decisions = ['r1', 'r2', 'r3'].map(
          (value) =>
            engine.decide({
              ...prospect,
              login: as,
              commands: [{ command: 'runner.install', params: { name: value, repo: 'acme/site' } }],
            }).allowed,
        );
        const { allowed } = engine.foresee({ ...prospect, login: as });
        engine.close();
        if (allowed === 'yes') expect(decisions).toEqual([true, true, true]);
        if (allowed === 'no') expect(decisions).toEqual([false, false, false]);
      }),
      { numRuns: 60 },
    );
  });
});
