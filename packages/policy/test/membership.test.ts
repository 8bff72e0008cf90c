import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { engineOf, memberOf, plain, refusalOf } from './world.ts';

const team = 'Team::"github:42"';
const member = `principal in ${team}`;
const permit = (condition: string): string =>
  `permit(principal, action == Action::"ssh", resource) ${condition};`;
const forbid = (condition: string): string =>
  `forbid(principal, action == Action::"ssh", resource) ${condition};`;

describe('memberships in policies', () => {
  test.each([
    ['in the scope of a permit', `permit(principal in ${team}, action, resource);`],
    ['in the scope of a permit, with the type', `permit(principal is Person in ${team}, action, resource);`],
    ['in when', permit(`when { ${member} }`)],
    ['in a list of teams', permit(`when { principal in [${team}, Team::"github:43"] }`)],
    ['with the type in when', permit(`when { principal is Person in Org::"github:7" }`)],
    [
      'under && and ||',
      permit(
        `when { (${member} && context.login == "beacon") || (context.login == "deploy" && principal in Org::"github:7") }`,
      ),
    ],
    ['beside an unless without one', permit(`when { ${member} } unless { context.service == "web" }`)],
  ])('accepts a team or organisation %s', (_, text) => {
    expect(() => engineOf(text).close()).not.toThrow();
  });

  test.each([
    ['the scope of a forbid', `forbid(principal in ${team}, action, resource);`],
    ['the scope of a forbid, with the type', `forbid(principal is Person in ${team}, action, resource);`],
    ['the scope of a forbid, for an organisation', 'forbid(principal in Org::"github:7", action, resource);'],
    [
      'the scope of a forbid, even of one person',
      'forbid(principal in Person::"github:7", action, resource);',
    ],
    ['when of a forbid', forbid(`when { ${member} }`)],
    ['unless of a forbid', forbid(`unless { ${member} }`)],
    ['a negation in a forbid', forbid(`when { !(${member}) }`)],
    [
      'a condition of a forbid, deep inside',
      forbid(`when { context.login == "x" && (context.service == "y" || ${member}) }`),
    ],
  ])('refuses one in %s', (_, text) => {
    expect(refusalOf(text).code).toBe('membership-in-forbid');
  });

  test.each([
    ['unless', permit(`unless { ${member} }`)],
    ['unless, negated twice', permit(`unless { !(${member}) }`)],
    ['!', permit(`when { !(${member}) }`)],
    ['! !', permit(`when { !(!(${member})) }`)],
    ['! over a list', permit(`when { !(principal in [${team}]) }`)],
    ['! over is … in', permit(`when { !(principal is Person in ${team}) }`)],
    ['== false', permit(`when { (${member}) == false }`)],
    ['== true', permit(`when { (${member}) == true }`)],
    ['!= true', permit(`when { (${member}) != true }`)],
    ['if', permit(`when { if ${member} then false else true }`)],
    ['then', permit(`when { if context.service == "x" then ${member} else true }`)],
    ['contains', permit(`when { [false].contains(${member}) }`)],
    ['a set', permit(`when { [${member}] == [false] }`)],
    ['a record', permit(`when { {a: ${member}}.a == false }`)],
    ['! around a disjunction', permit(`when { !(context.login == "x" || ${member}) }`)],
    [
      'a person by way of if',
      permit(`when { (if context.service == "x" then principal else principal) in ${team} }`),
    ],
    ['a person by way of a record', permit(`when { {p: principal}.p in ${team} }`)],
    ['a person by name', permit(`when { Person::"github:1" in ${team} }`)],
    ['a person on the right', permit('when { principal in [Person::"github:1"] }')],
    ['the scope, a person', 'permit(principal in Person::"github:1", action, resource);'],
  ])('refuses one under %s', (_, text) => {
    expect(refusalOf(text).code).toBe('membership-negated');
  });

  test('knows every kind of expression that Cedar has, so that none is refused for being unknown', () => {
    const all = `when {
      context.lifetime_seconds + 1 - 2 * 3 <= 4 && context.lifetime_seconds > -(1) && context.lifetime_seconds >= 0 && 1 < 2
      && (if context has service then context.service like "a*" else false) && !(context.login != "x")
      && [1, 2].contains(context.lifetime_seconds) && [1].containsAll([context.lifetime_seconds]) && [context.login].containsAny(["b"])
      && ![context.login].isEmpty() && {a: context.login}.a == "b" && resource is Host && resource is Host in Pool::"ci"
      && resource.hasTag("env") && resource.getTag("env") == "prod" && action in [Action::"ssh"]
      && context.source.isInRange(ip("10.0.0.0/8")) && context.source.isIpv4() && context.source.isIpv6() == false
      && !context.source.isLoopback() && !context.source.isMulticast()
      && decimal("1.0").lessThan(decimal("2.0")) && decimal("1.0").lessThanOrEqual(decimal("2.0"))
      && decimal("1.0").greaterThan(decimal("0.5")) && decimal("1.0").greaterThanOrEqual(decimal("0.5"))
      && context.time > datetime("2026-01-01") && context.time.offset(duration("1h")) > context.time
      && context.time.toTime() < duration("18h") && context.time.toDate() < context.time
      && context.time.durationSince(datetime("2026-01-01")).toDays() > 1 && duration("1h").toHours() == 1
      && duration("1h").toMinutes() == 60 && duration("1h").toSeconds() == 3600 && duration("1s").toMilliseconds() == 1000 }`;
    expect(() => engineOf(permit(all)).close()).not.toThrow();
  });

  test('an unknown membership never allows: adding certain memberships never takes a permission away', () => {
    const teams = ['github:1', 'github:2', 'github:3'];
    const atom = fc.oneof(
      fc.constantFrom(...teams).map((id) => `principal in Team::"${id}"`),
      fc.constantFrom(
        'context.login == "beacon"',
        'context.service == "cli"',
        'context.lifetime_seconds < 600',
        'resource in Pool::"ci"',
      ),
    );
    const condition = fc.letrec<{ it: string }>((tie) => ({
      it: fc.oneof(
        { maxDepth: 3 },
        atom,
        fc
          .tuple(tie('it'), fc.constantFrom('&&', '||', '=='), tie('it'))
          .map(([a, op, b]) => `(${a} ${op} ${b})`),
        tie('it').map((inner) => `!(${inner})`),
      ),
    })).it;
    const clause = fc.tuple(
      fc.constantFrom('permit', 'forbid'),
      fc.constantFrom('when', 'unless'),
      condition,
    );
    let loaded = 0;
    fc.assert(
      fc.property(
        fc.array(clause, { minLength: 1, maxLength: 3 }),
        fc.subarray(teams),
        fc.subarray(teams),
        (clauses, some, more) => {
          const text = clauses
            .map(
              ([effect, kind, body], index) =>
                `@id("p${index}") ${effect}(principal, action == Action::"ssh", resource) ${kind} { ${body} };`,
            )
            .join('\n');
          let engine: ReturnType<typeof engineOf>;
          try {
            engine = engineOf(text);
          } catch {
            return;
          }
          loaded += 1;
          const ask = (ids: string[]) =>
            engine.decide({ ...plain, commands: 'ssh', person: { ...plain.person, teams: memberOf(...ids) } })
              .allowed;
          const less = ask(some);
          const all = ask([...new Set([...some, ...more])]);
          engine.close();
          expect(less && !all).toBe(false);
        },
      ),
      { numRuns: 300 },
    );
    // Some 55 are, give or take seven.
    expect(loaded).toBeGreaterThan(5);
  });
});
