import { parseCases, runPolicyCases } from '@beacon/policy';
import { describe, expect, test } from '@jest/globals';
import { engineOf, inventory, thrownBy } from './world.ts';

const person = { id: 'github:1', teams: ['github:42'] };
const base = {
  name: 'x',
  person,
  host: 'build-01',
  login: 'beacon',
  command: 'runner.state',
  expect: 'allow',
};
const engine = engineOf(`
@max_lifetime("30m") @extensions("permit-pty") permit(principal in Team::"github:42", action in [Action::"ssh", Action::"runner.state", Action::"runner.install"], resource) when { context.weekday != "sunday" && context.service != "web" };
permit(principal in Org::"github:7", action == Action::"ca.hosts", resource);
`);
const run = (value: Record<string, unknown>) => runPolicyCases(engine, inventory, parseCases([value]))[0];

describe('policy cases', () => {
  test.each<[string, Record<string, unknown>]>([
    ['a command', base],
    [
      'a command with parameters and undo',
      {
        ...base,
        command: 'runner.install',
        params: { name: 'a', repo: 'b/c' },
        undo: { command: 'runner.remove', params: { name: 'a' } },
      },
    ],
    [
      'several commands',
      { ...base, command: undefined, commands: [{ command: 'runner.state' }, { command: 'runner.state' }] },
    ],
    [
      'a lifetime and its limits',
      { ...base, lifetime: '30m', limits: { max_lifetime: '30m', extensions: [] } },
    ],
    ['an ordinary login', { ...base, command: undefined, ssh: true, limits: { extensions: ['permit-pty'] } }],
    ["the host's only login by default", { ...base, host: 'bare', login: undefined }],
    [
      'an action at the CA',
      {
        name: 'x',
        person: { id: 'github:2', organizations: ['github:7'] },
        authority: 'ca.hosts',
        expect: 'allow',
      },
    ],
    ['a denial with its reason', { ...base, lifetime: '31m', expect: 'deny', reason: 'lifetime' }],
    ['a lifetime that is always refused', { ...base, lifetime: '2h', expect: 'deny', reason: 'lifetime' }],
    [
      'an unknown membership',
      {
        ...base,
        person: { id: 'github:1', unknown_teams: ['github:42'] },
        expect: 'deny',
        reason: 'no-permit',
      },
    ],
    ['a host that is not there', { ...base, host: 'nowhere', expect: 'deny', reason: 'host' }],
    [
      'a host named like what every object has',
      { ...base, host: 'constructor', expect: 'deny', reason: 'host' },
    ],
    ['a login that must be named', { ...base, login: undefined, expect: 'deny', reason: 'login' }],
    ['a time', { ...base, at: '2026-03-01T00:00:00Z', expect: 'deny' }],
    ['a service', { ...base, service: 'web', expect: 'deny' }],
    ['a source address', { ...base, source: '::ffff:1.2.3.4', expect: 'deny', reason: 'source' }],
  ])('can ask for %s', (_, value) => {
    expect(run(JSON.parse(JSON.stringify(value)))).toMatchObject({ ok: true, difference: null });
  });

  test.each<[Record<string, unknown>, string]>([
    [{ ...base, expect: 'deny' }, 'expected deny, got: Allowed'],
    [{ ...base, lifetime: '1h' }, 'expected allow, got: Denied'],
    [
      { ...base, lifetime: '1h', expect: 'deny', reason: 'no-permit' },
      'expected the reason "no-permit", got "lifetime"',
    ],
    [{ ...base, limits: { max_lifetime: '15m' } }, 'expected at most 15m, got 30m'],
    [{ ...base, limits: { extensions: ['permit-pty'] } }, 'expected the extensions [permit-pty], got []'],
  ])('says how the answer differs: %#', (value, text) => {
    const result = run(value);
    expect(result?.ok).toBe(false);
    expect(result?.difference).toContain(text);
  });

  test.each<[string, unknown, string, string]>([
    ['what is no list', {}, '', 'not a list'],
    ['an unknown key', [{ ...base, hots: 'x' }], '[0]', 'Did you mean "host"?'],
    [
      'an unknown key of the person',
      [{ ...base, person: { ...person, teems: [] } }],
      '[0].person',
      'Did you mean "teams"?',
    ],
    ['two questions in one', [{ ...base, ssh: true }], '[0]', 'exactly one'],
    ['no question', [{ ...base, command: undefined }], '[0]', 'exactly one'],
    ['ssh: false', [{ ...base, command: undefined, ssh: false }], '[0].ssh', 'either true'],
    [
      'parameters beside ssh',
      [{ ...base, command: undefined, ssh: true, params: {} }],
      '[0].params',
      'beside "command"',
    ],
    ['no expectation', [{ ...base, expect: undefined }], '[0]', '"expect" is missing'],
    ['another expectation', [{ ...base, expect: 'alow' }], '[0].expect', 'Did you mean "allow"?'],
    [
      'an unknown reason',
      [{ ...base, expect: 'deny', reason: 'lifetme' }],
      '[0].reason',
      'Did you mean "lifetime"?',
    ],
    ['a reason for a permission', [{ ...base, reason: 'login' }], '[0].reason', 'denial'],
    ['limits of a denial', [{ ...base, expect: 'deny', limits: {} }], '[0].limits', 'permission'],
    ['a lifetime as a number', [{ ...base, lifetime: 900 }], '[0].lifetime', 'not a text'],
    ['a lifetime without unit', [{ ...base, lifetime: '900' }], '[0].lifetime', 'written like'],
    ['a time that is not UTC', [{ ...base, at: '2026-03-01 10:00' }], '[0].at', 'UTC'],
    [
      'a host for an action at the CA',
      [{ name: 'x', person, authority: 'ca.hosts', host: 'bare', expect: 'deny' }],
      '[0].host',
      'the CA itself',
    ],
    [
      'an unknown action at the CA',
      [{ name: 'x', person, authority: 'ca.host', expect: 'deny' }],
      '[0].authority',
      'Did you mean "ca.hosts"?',
    ],
    ['two cases of one name', [base, base], '[1]', 'two cases'],
    ['a case without a host', [{ ...base, host: undefined }], '[0]', '"host" is missing'],
  ])('refuses %s, with its place', (_, value, key, text) => {
    const plainValue: unknown = JSON.parse(JSON.stringify(value));
    const refusal = thrownBy(() => parseCases(plainValue, 'cases.yaml'));
    expect(refusal).toMatchObject({ code: 'case', place: { file: 'cases.yaml', key } });
    expect(refusal.message).toContain(text);
  });
});
