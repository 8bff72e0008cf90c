import {
  brokerAudience,
  CA_AUDIENCE,
  formatPrincipal,
  isName,
  type NameKind,
  nameForms,
  parseName,
  parsePrincipal,
} from '@beacon/protocol/name';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { refusalOf } from './refusal.ts';

const kinds = Object.keys(nameForms) as NameKind[];

const accepted: Record<NameKind, string[]> = {
  host: ['a', '0', 'build-01', 'build.example.net', 'a..b', 'a--b', '127.0.0.1', `a${'-'.repeat(61)}z`],
  login: ['a', '_', '_apt', 'beacon', 'a-', 'deploy_2', 'a'.repeat(32)],
  command: ['a', 'runner.install', 'gate.state', 'a.0', 'a_b-c.d', 'a.-', 'a'.repeat(64)],
  parameter: ['a', 'scope', 'token_2', 'constructor', 'a'.repeat(32)],
  person: ['github:583231', 'a:1', 'ghes-2:10', `${'a'.repeat(32)}:${'9'.repeat(19)}`],
  service: ['a', 'portal', 'portal-2', 'a'.repeat(63)],
};

/** Rows that no kind of name accepts: what a caller may put before, into or after an otherwise good name. */
const spoil: [string, (name: string) => string][] = [
  ['nothing', () => ''],
  ['a comma', (name) => `${name},root`],
  ['a newline at the end', (name) => `${name}\n`],
  ['a carriage return at the end', (name) => `${name}\r`],
  ['a newline at the start', (name) => `\n${name}`],
  ['two lines', (name) => `${name}\n${name}`],
  ['a NUL at the end', (name) => `${name}\0`],
  ['a NUL inside', (name) => `${name}\0${name}`],
  ['a space at the end', (name) => `${name} `],
  ['a space at the start', (name) => ` ${name}`],
  ['a no-break space', (name) => `${name}\u00a0`],
  ['a tab', (name) => `${name}\t`],
  ['a leading dash', (name) => `-${name}`],
  ['a leading dot', (name) => `.${name}`],
  ['a trailing dot', (name) => `${name}.`],
  ['upper case', (name) => `a${name}Z`],
  ['one upper-case letter', (name) => `A${name}`],
  ['a Kelvin sign, which folds to k', (name) => `\u212a${name}`],
  ['a letter beyond ASCII', (name) => `${name}é`],
  ['a Cyrillic letter that looks Latin', (name) => `\u0430${name}`],
  ['a full-width digit', (name) => `${name}\uff11`],
  ['an Arabic digit', (name) => `${name}\u0661`],
  ['a zero-width space', (name) => `${name}\u200b`],
  ['half of a surrogate pair', (name) => `${name}\ud800`],
  ['a slash', (name) => `../${name}`],
  ['a backslash', (name) => `${name}\\`],
  ['an at sign', (name) => `${name}@${name}`],
  ['a star', (name) => `${name}*`],
  ['a question mark', (name) => `${name}?`],
  ['a shell character', (name) => `${name};`],
  ['300 characters', (name) => name.padEnd(300, 'a')],
  ['a million characters', (name) => name.padEnd(1_000_000, 'a.')],
];

describe('names', () => {
  for (const kind of kinds) {
    for (const name of accepted[kind]) {
      it(`takes ${JSON.stringify(name.slice(0, 40))} (${name.length}) as a ${kind}, as it stands`, () => {
        expect(isName(kind, name)).toBe(true);
        expect(parseName(kind, name)).toBe(name);
      });
    }
    for (const [what, change] of spoil) {
      it(`A2, P3: refuses ${what} in a ${kind}`, () => {
        const name = change(accepted[kind][1] ?? '');
        expect(isName(kind, name)).toBe(false);
        expect(refusalOf(() => parseName(kind, name))).toBe('name-malformed');
      });
    }
  }

  const refused: [NameKind, string, string][] = [
    ['host', 'a'.repeat(64), '64 characters'],
    ['host', `${'a'.repeat(63)}.`, '63 characters and a dot'],
    ['host', 'a-', 'a dash at the end'],
    ['host', 'a_b', 'an underscore'],
    ['host', '-', 'a dash alone'],
    ['host', '.', 'a dot alone'],
    ['host', '::ffff:10.0.0.1', 'an IPv4-mapped IPv6 address'],
    ['host', '[::1]', 'an IPv6 address'],
    ['host', 'host*', 'a wildcard'],
    ['host', '!build-01', 'a negation'],
    ['host', 'bücher.example', 'an international name'],
    ['login', 'a'.repeat(33), '33 characters'],
    ['login', '0a', 'a digit first'],
    ['login', 'a.b', 'a dot'],
    ['login', 'root!', 'an exclamation mark'],
    ['login', 'a$', 'a dollar sign'],
    ['command', 'a'.repeat(65), '65 characters'],
    ['command', `${'a'.repeat(32)}.${'a'.repeat(32)}`, '65 characters in two words'],
    ['command', 'a..b', 'two dots'],
    ['command', '0a', 'a digit first'],
    ['command', '_a', 'an underscore first'],
    ['parameter', 'a'.repeat(33), '33 characters'],
    ['parameter', '__proto__', 'a prototype'],
    ['parameter', 'a-b', 'a dash'],
    ['parameter', 'a.b', 'a dot'],
    ['person', '583231', 'no provider'],
    ['person', 'github:', 'no id'],
    ['person', 'github:0', 'the id 0'],
    ['person', 'github:0583231', 'a leading zero'],
    ['person', 'github:-1', 'a negative id'],
    ['person', 'github:1e3', 'an exponent'],
    ['person', 'github:octocat', 'a login name for an id'],
    ['person', 'github:1:2', 'two ids'],
    ['person', `github:1${'0'.repeat(19)}`, 'an id of 20 digits'],
    ['person', `${'a'.repeat(33)}:1`, 'a provider of 33 characters'],
    ['person', '2github:1', 'a provider with a digit first'],
    ['service', 'a'.repeat(64), '64 characters'],
    ['service', 'a_b', 'an underscore'],
    ['service', 'a.b', 'a dot'],
  ];
  for (const [kind, name, what] of refused) {
    it(`A2, P3: refuses ${what} as a ${kind}`, () => {
      expect(isName(kind, name)).toBe(false);
      expect(refusalOf(() => parseName(kind, name))).toBe('name-malformed');
    });
  }

  it('says in a refusal what the form is, and shows no control character and no more than the beginning', () => {
    expect(() => parseName('host', 'a\u001b[2J\n')).toThrow(/^"a\\u001b\[2J\\n" is not a host id: /);
    expect(() => parseName('login', 'x'.repeat(10_000))).toThrow(/^"x{80}" is not a login: /);
  });
});

describe('principals', () => {
  const login = fc.stringMatching(/^[a-z_][a-z0-9_-]{0,9}$/);
  const host = fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,9}[a-z0-9])?$/);

  it('read back as the login and host that they were made of', () => {
    fc.assert(
      fc.property(login, host, (login, host) => {
        expect(parsePrincipal(formatPrincipal(login, host))).toEqual({ login, host });
      }),
    );
  });

  it('A2: match the one form whatever they are made of', () => {
    const form = /^[a-z_][a-z0-9_-]{0,31}@[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;
    const hostile = fc.oneof(
      login,
      host,
      fc.string({ maxLength: 8 }),
      fc.string({ unit: fc.constantFrom('a', '_', '-', '.', '@', ',', '\n', '\0', ' ', 'A'), maxLength: 6 }),
    );
    fc.assert(
      fc.property(hostile, hostile, (login, host) => {
        let principal = '';
        const code = refusalOf(() => {
          principal = formatPrincipal(login, host);
        });
        if (code === 'accepted') expect(principal).toMatch(form);
        else expect(code).toBe('name-malformed');
        expect(principal.includes('\n')).toBe(false);
      }),
    );
  });

  for (const text of [
    '',
    '@',
    'beacon',
    'beacon@',
    '@build-01',
    'beacon@build-01@build-02',
    'beacon@build-01,root@build-02',
    'beacon@build-01\n',
    'beacon @build-01',
    'beacon@*',
    '*',
  ]) {
    it(`A2: refuse ${JSON.stringify(text)}`, () => {
      expect(refusalOf(() => parsePrincipal(text))).toBe('name-malformed');
    });
  }
});

describe('audiences', () => {
  it('name the service, and never spell the CA', () => {
    expect(brokerAudience('portal')).toBe('urn:beacon:broker:portal');
    expect(brokerAudience('ca')).not.toBe(CA_AUDIENCE);
    expect(refusalOf(() => brokerAudience('portal:ca'))).toBe('name-malformed');
  });
});
