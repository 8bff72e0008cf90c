import { createPolicyEngine } from '@beacon/policy';
import { describe, expect, test } from '@jest/globals';
import { codeOf, engineOf, inventory, plain, refusalOf, thrownBy } from './world.ts';

const permitState = 'permit(principal, action == Action::"runner.state", resource);';

describe('loading policies', () => {
  test('P1: no file, an empty file and a file of comments are valid and allow nothing', () => {
    for (const texts of [[], [''], ['// nobody yet\n'], [' \n\t\n']]) {
      const decision = engineOf(...texts).decide(plain);
      expect(decision).toMatchObject({ allowed: false, reason: { code: 'no-permit' }, policies: [] });
    }
  });

  test.each([
    ['text that is no Cedar', 'permit(principal, action, resource', 'parse'],
    ['a word that Cedar does not know', 'allow(principal, action, resource);', 'parse'],
    ['a condition without an end', 'permit(principal, action, resource) when { true ;', 'parse'],
    [
      'an action that is not in the inventory',
      'permit(principal, action == Action::"runner.instal", resource);',
      'unknown-action',
    ],
    [
      'an action in a list that is not in the inventory',
      'permit(principal, action in [Action::"ssh", Action::"Runner.state"], resource);',
      'unknown-action',
    ],
    [
      'an attribute of the context that is not there',
      'permit(principal, action == Action::"ssh", resource) when { context.lifetimeSeconds < 60 };',
      'schema',
    ],
    [
      'a parameter that the command does not have',
      'permit(principal, action == Action::"runner.state", resource) when { context.params.name == "x" };',
      'schema',
    ],
    [
      'a secret parameter',
      'permit(principal, action == Action::"runner.install", resource) when { context.params.token == "x" };',
      'schema',
    ],
    [
      'a parameter where the action is not named',
      'permit(principal, action, resource) when { context.params.name == "x" };',
      'schema',
    ],
    [
      'a comparison of a number with a text',
      'permit(principal, action == Action::"ssh", resource) when { context.lifetime_seconds == "60" };',
      'schema',
    ],
    [
      'a label without asking whether it is there',
      'permit(principal, action == Action::"ssh", resource) when { resource.getTag("env") == "prod" };',
      'schema',
    ],
    [
      'a policy that can never hold',
      'permit(principal, action == Action::"ssh", resource == Authority::"ca");',
      'schema',
    ],
    ['== with a team', 'permit(principal == Team::"github:42", action, resource);', 'schema'],
    [
      'an entity type that is not ours',
      'permit(principal, action, resource == Machine::"build-01");',
      'schema',
    ],
    [
      'an address in octal and hexadecimal',
      'permit(principal, action, resource) when { context.source.isInRange(ip("0x7f.1")) };',
      'schema',
    ],
    [
      'an address that is not literal',
      'permit(principal, action, resource) when { ip(context.service).isLoopback() };',
      'schema',
    ],
    [
      'text that runs backwards',
      'permit(principal, action, resource) when { context.service == "a\u202eb" };',
      'schema',
    ],
    ['a template', 'permit(principal == ?principal, action, resource);', 'template'],
    ['an unknown annotation', '@max_lifetme("15m") permit(principal, action, resource);', 'annotation'],
    ['an id without a value', '@id permit(principal, action, resource);', 'annotation'],
    ['an id with a space', '@id("a b") permit(principal, action, resource);', 'annotation'],
    ['one annotation twice', '@id("a") @id("a") permit(principal, action, resource);', 'parse'],
    ['a lifetime without a unit', '@max_lifetime("900") permit(principal, action, resource);', 'annotation'],
    [
      'a lifetime of more than an hour',
      '@max_lifetime("61m") permit(principal, action, resource);',
      'annotation',
    ],
    [
      'a lifetime of less than 30 seconds',
      '@max_lifetime("29s") permit(principal, action, resource);',
      'annotation',
    ],
    ['a lifetime of zero', '@max_lifetime("0s") permit(principal, action, resource);', 'annotation'],
    [
      'a lifetime with a leading zero',
      '@max_lifetime("015m") permit(principal, action, resource);',
      'annotation',
    ],
    ['a limit on a forbid', '@max_lifetime("15m") forbid(principal, action, resource);', 'annotation'],
    ['an unknown extension', '@extensions("permit-ptty") permit(principal, action, resource);', 'annotation'],
    [
      'no-touch-required',
      '@extensions("no-touch-required") permit(principal, action, resource);',
      'annotation',
    ],
    [
      'one extension twice',
      '@extensions("permit-pty permit-pty") permit(principal, action, resource);',
      'annotation',
    ],
    ['an empty list of extensions', '@extensions("") permit(principal, action, resource);', 'annotation'],
    [
      'extensions for a command',
      '@extensions("permit-pty") permit(principal, action == Action::"runner.state", resource);',
      'annotation',
    ],
    ['a team by its name', 'permit(principal in Team::"acme/leads", action, resource);', 'id'],
    ['a team without its provider', 'permit(principal in Team::"42", action, resource);', 'id'],
    [
      'a team whose number begins with zero',
      'permit(principal in Team::"github:042", action, resource);',
      'id',
    ],
    [
      'a team by name inside a list',
      'permit(principal, action, resource) when { principal in [Team::"github:1", Team::"*"] };',
      'id',
    ],
    ['a person by the login name', 'permit(principal == Person::"octocat", action, resource);', 'id'],
    [
      'another authority',
      'permit(principal, action == Action::"ca.hosts", resource == Authority::"CA");',
      'id',
    ],
  ])('P1: refuses %s', (_, text, code) => {
    const refusal = refusalOf(permitState, `// second file\n${text}`);
    expect(refusal.code).toBe(code);
    expect(refusal.place).toMatchObject({ file: '1.cedar' });
    expect(refusal.place.line).toBeGreaterThanOrEqual(2);
    expect(refusal.message).toMatch(/^1\.cedar:\d+:\d+: .+/);
  });

  test.each(['host*', '*', '**', 'HOST', 'host.', 'hôst', 'xn--hst-tna.', 'a,b', ''])(
    'P3: refuses the host id "%s" in a policy, where it could only seem to mean something',
    (id) => {
      expect(refusalOf(`permit(principal, action, resource == Host::"${id}");`).code).toBe('id');
      expect(refusalOf(`forbid(principal, action, resource in Pool::"${id}*");`).code).toBe('id');
    },
  );

  test('P1: refuses two policies of one id, in one file and in two, and names both places', () => {
    const twin = `@id("same") ${permitState}`;
    expect(refusalOf(`${twin}\n${twin}`)).toMatchObject({
      code: 'doubled-id',
      place: { file: '0.cedar', line: 2 },
    });
    expect(refusalOf(twin, `\n${twin}`).message).toContain('already belongs to 0.cedar:1:1');
    expect(
      codeOf(() =>
        createPolicyEngine({
          inventory,
          files: [
            { name: 'a', text: '' },
            { name: 'a', text: '' },
          ],
        }),
      ),
    ).toBe('doubled-file');
  });

  test('P1: names the nearest known name', () => {
    expect(refusalOf('permit(principal, action == Action::"runner.instal", resource);').message).toContain(
      'Did you mean "runner.install"?',
    );
    expect(refusalOf('@max_lifetme("15m") permit(principal, action, resource);').message).toContain(
      'Did you mean "max_lifetime"?',
    );
    expect(refusalOf('@extensions("permit-ptty") permit(principal, action, resource);').message).toContain(
      'Did you mean "permit-pty"?',
    );
    expect(
      refusalOf('permit(principal, action == Action::"ssh", resource) when { context.lifetime_second < 60 };')
        .message,
    ).toContain('did you mean `lifetime_seconds`?');
  });

  test('points at line and column, counting characters and not bytes', () => {
    const refusal = refusalOf(
      `// äöü €\n@description("größer; \\"x\\" // no comment")\n${permitState}\n\n  permit(principal, action == Action::"sssh", resource);`,
    );
    expect(refusal.place).toEqual({ file: '0.cedar', line: 5, column: 31 });
    const late = refusalOf(`@description("ü;ü")\n${permitState} /**/`);
    expect(late.place).toMatchObject({ line: 2 });
    const schema = refusalOf(
      '@description("€€€")\npermit(principal, action == Action::"ssh", resource) when { context.services == "€" };',
    );
    expect(schema.place).toEqual({ file: '0.cedar', line: 2, column: 61 });
  });

  test('names a policy without an id by file and line, and refuses two of them on one line', () => {
    const engine = createPolicyEngine({
      inventory,
      files: [{ name: 'team.cedar', text: `\n\n${permitState}` }],
    });
    expect(engine.policies).toEqual(['team.cedar:3']);
    expect(engine.decide(plain).policies).toEqual(['team.cedar:3']);
    expect(refusalOf(`${permitState} ${permitState}`).code).toBe('doubled-id');
  });

  test('refuses ids of another provider when the provider is known', () => {
    const text = 'permit(principal in Team::"gihub:42", action, resource);';
    const files = [{ name: 'a.cedar', text }];
    expect(codeOf(() => createPolicyEngine({ inventory, files, provider: 'github' }))).toBe('id');
    expect(createPolicyEngine({ inventory, files }).namedTeams).toEqual(['gihub:42']);
  });

  test('refuses more than a mebibyte and text that is not well formed', () => {
    expect(refusalOf(`//${'x'.repeat(1024 * 1024)}`).code).toBe('too-large');
    expect(refusalOf('// \ud800').code).toBe('parse');
  });

  test('tells reviewers of hosts and pools that the inventory does not list', () => {
    const engine = engineOf(
      'permit(principal, action == Action::"ssh", resource == Host::"biuld-01");\nforbid(principal, action, resource in Pool::"ci");',
    );
    expect(engine.notes).toEqual([
      '0.cedar:1:1: the inventory lists no Host::"biuld-01". Did you mean "build-01"?',
    ]);
  });

  test('a closed engine refuses to answer, and its place is used again without harm', () => {
    const first = engineOf(permitState);
    first.close();
    first.close();
    const second = engineOf('');
    expect(thrownBy(() => first.decide(plain)).code).toBe('closed');
    expect(second.decide(plain).allowed).toBe(false);
  });
});
