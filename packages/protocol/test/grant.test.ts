import { createHash } from 'node:crypto';
import { formatGrant, GRANT_MAX_BYTES, type Grant, parseGrant } from '@beacon/protocol/grant';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { refusalOf } from './refusal.ts';

const digest = (of: string) => createHash('sha256').update(of).digest('base64url');

const grant: Grant = {
  grant: '01hzzzzzzz0123456789abcdef',
  session: 'HilStHiWj7aeEFQjRFaDiAcmo5KSMsJncuYp1-z3Ys0',
  person: 'github:583231',
  service: 'portal',
  host: 'build-01',
  login: 'beacon',
  commands: [
    { command: 'runner.preflight', digest: digest('preflight') },
    {
      command: 'runner.install',
      digest: digest('install'),
      undo: { command: 'runner.remove', digest: digest('remove') },
    },
  ],
};

/** The one text of `grant`, written by hand. */
const text =
  '{"v":1,"grant":"01hzzzzzzz0123456789abcdef","session":"HilStHiWj7aeEFQjRFaDiAcmo5KSMsJncuYp1-z3Ys0",' +
  '"person":"github:583231","service":"portal","host":"build-01","login":"beacon","commands":[' +
  `{"command":"runner.preflight","digest":"${digest('preflight')}"},` +
  `{"command":"runner.install","digest":"${digest('install')}",` +
  `"undo":{"command":"runner.remove","digest":"${digest('remove')}"}}]}`;

const base32 = fc.stringMatching(/^[0-7][0-9abcdefghjkmnpqrstvwxyz]{25}$/);
const someDigest = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString('base64url'));
const command = fc.stringMatching(/^[a-z][a-z0-9_-]{0,9}([.][a-z0-9_-]{1,9}){0,2}$/);
const anyGrant: fc.Arbitrary<Grant> = fc.record({
  grant: base32,
  session: someDigest,
  person: fc.stringMatching(/^[a-z][a-z0-9-]{0,31}:[1-9][0-9]{0,18}$/),
  service: fc.stringMatching(/^[a-z][a-z0-9-]{0,62}$/),
  host: fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/),
  login: fc.stringMatching(/^[a-z_][a-z0-9_-]{0,31}$/),
  commands: fc.array(
    fc.record(
      { command, digest: someDigest, undo: fc.record({ command, digest: someDigest }) },
      { requiredKeys: ['command', 'digest'], noNullPrototype: true },
    ),
    { minLength: 1, maxLength: 10 },
  ),
});

describe('a grant', () => {
  it('has one text', () => {
    expect(formatGrant(grant)).toBe(text);
    expect(parseGrant(text)).toStrictEqual(grant);
  });

  it('reads back as it was written, whatever it allows', () => {
    fc.assert(
      fc.property(anyGrant, (any) => {
        expect(parseGrant(formatGrant(any))).toEqual(any);
      }),
    );
  });

  it('is written in its one order, whatever order its fields come in', () => {
    const backwards = Object.fromEntries(Object.entries(grant).reverse()) as unknown as Grant;
    expect(formatGrant(backwards)).toBe(text);
  });

  it('C6: is refused at every length short of its own', () => {
    for (let length = 0; length < text.length; length++)
      expect(refusalOf(() => parseGrant(text.slice(0, length)))).toBe('json-syntax');
  });

  it('C6: is refused, or is another grant, when any bit of it is flipped', () => {
    const codes = new Set<string>();
    for (let bit = 0; bit < text.length * 8; bit++) {
      const flipped = Buffer.from(text);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      const other = flipped.toString('latin1');
      const code = refusalOf(() => {
        if (formatGrant(parseGrant(other)) !== other) throw new Error(`read with bit ${bit} flipped`);
      });
      codes.add(code);
    }
    const allowed = ['accepted', 'grant-malformed', 'json-doubled-key', 'json-number', 'json-syntax'];
    expect([...codes].filter((code) => !allowed.includes(code))).toEqual([]);
  });

  it('C6: is refused in any other text of the same value', () => {
    fc.assert(
      fc.property(
        anyGrant,
        fc.nat(),
        fc.constantFrom(' ', '\n', '\t', '\0', ',', '\ufeff'),
        (any, at, add) => {
          const one = formatGrant(any);
          const place = at % (one.length + 1);
          expect(refusalOf(() => parseGrant(one.slice(0, place) + add + one.slice(place)))).not.toBe(
            'accepted',
          );
        },
      ),
    );
  });

  const value = JSON.parse(text) as Record<string, unknown>;
  const [first, second] = value['commands'] as Record<string, unknown>[];
  const withCommands = (...commands: unknown[]) => JSON.stringify({ ...value, commands });
  const other: [string, string][] = [
    ['a space', text.replace(':1,', ': 1,')],
    ['a newline at the end', `${text}\n`],
    ['a space at the start', ` ${text}`],
    ['indentation', JSON.stringify(value, null, 2)],
    ['an escaped letter', text.replace('portal', '\\u0070ortal')],
    ['an escaped slash or dot', text.replace('runner.preflight', 'runner\\u002epreflight')],
    ['its keys in another order', JSON.stringify(Object.fromEntries(Object.entries(value).reverse()))],
    ['v at the end', JSON.stringify({ ...Object.fromEntries(Object.entries(value).slice(1)), v: 1 })],
    [
      "a command's keys in another order",
      withCommands({ digest: first?.['digest'], command: 'runner.preflight' }),
    ],
    [
      'undo before the digest',
      withCommands({ command: 'runner.install', undo: second?.['undo'], digest: second?.['digest'] }),
    ],
    ['an unknown field', JSON.stringify({ ...value, until: 1 })],
    ['an unknown field in a command', withCommands({ ...first, params: '{}' })],
    [
      'an unknown field in an undo',
      withCommands({ ...second, undo: { ...(second?.['undo'] as object), undo: {} } }),
    ],
    ['an undo of null', withCommands({ ...first, undo: null })],
    ['an undo of text', withCommands({ ...first, undo: 'runner.remove' })],
    ['a command of text', withCommands('runner.preflight')],
    ['a command in an array', withCommands([first])],
    ['commands left out', JSON.stringify({ ...value, commands: undefined })],
    ['commands of null', JSON.stringify({ ...value, commands: null })],
    ['commands in an object', JSON.stringify({ ...value, commands: { 0: first } })],
    ['version 0', JSON.stringify({ ...value, v: 0 })],
    ['version 2', JSON.stringify({ ...value, v: 2 })],
    ['a version of text', JSON.stringify({ ...value, v: '1' })],
    ['no version', JSON.stringify({ ...value, v: undefined })],
    ['null for a grant', 'null'],
    ['a grant in an array', `[${text}]`],
    ['a grant in a text', JSON.stringify(text)],
    ['a shorter digest', withCommands({ command: 'a', digest: digest('a').slice(1) })],
    ['a padded digest', withCommands({ command: 'a', digest: `${digest('a')}=` })],
    ['a digest with bits left over', withCommands({ command: 'a', digest: `${'A'.repeat(42)}B` })],
    ['an undo with a shorter digest', withCommands({ ...first, undo: { command: 'a', digest: '' } })],
    [
      'an undo with a name that is none',
      withCommands({ ...first, undo: { command: 'A', digest: digest('a') } }),
    ],
    ['a command name that is none', withCommands({ command: 'runner install', digest: digest('a') })],
  ];
  for (const key of ['grant', 'session', 'person', 'service', 'host', 'login']) {
    other.push([`no ${key}`, JSON.stringify({ ...value, [key]: undefined })]);
    other.push([`an empty ${key}`, JSON.stringify({ ...value, [key]: '' })]);
    other.push([`a number for its ${key}`, JSON.stringify({ ...value, [key]: 1 })]);
    other.push([`a newline in its ${key}`, JSON.stringify({ ...value, [key]: `${String(value[key])}\n` })]);
    other.push([`a comma in its ${key}`, JSON.stringify({ ...value, [key]: `${String(value[key])},a` })]);
    other.push([`upper case in its ${key}`, JSON.stringify({ ...value, [key]: `A${String(value[key])}` })]);
  }
  for (const [what, changed] of other) {
    it(`C6: is refused with ${what}`, () => {
      expect(changed).not.toBe(text);
      expect(refusalOf(() => parseGrant(changed))).toBe('grant-malformed');
    });
  }

  it('C6: is refused with a doubled key, a fraction or half of a surrogate pair', () => {
    expect(refusalOf(() => parseGrant(text.replace('"v":1,', '"v":1,"v":1,')))).toBe('json-doubled-key');
    expect(refusalOf(() => parseGrant(text.replace('"v":1,', '"v":1.0,')))).toBe('json-number');
    expect(refusalOf(() => parseGrant(text.replace('portal', '\ud800')))).toBe('json-surrogate');
  });

  it('is not written with a value that would not be read', () => {
    const entry = { command: 'a', digest: digest('a') };
    for (const change of [
      { grant: 'g' },
      { session: 's' },
      { person: 'octocat' },
      { service: 'Portal' },
      { host: 'build-01.' },
      { login: '-root' },
      { commands: [{ ...entry, command: 'A' }] },
      { commands: [{ ...entry, digest: 'x' }] },
      { commands: [{ ...entry, undo: { ...entry, command: '' } }] },
      { commands: [{ ...entry, undo: { ...entry, digest: '' } }] },
    ]) {
      expect(refusalOf(() => formatGrant({ ...grant, ...change }))).toBe('grant-malformed');
    }
  });

  it('C6: has at most 8192 bytes, exactly', () => {
    const entry = (name: string) => ({ command: name, digest: digest('a') });
    const of = (...names: string[]) => ({ ...grant, commands: names.map(entry) });
    const room = GRANT_MAX_BYTES - Buffer.byteLength(formatGrant(of('a')));
    const each = JSON.stringify(entry('')).length + 1;
    const count = Math.floor(room / (each + 64));
    const names = Array.from({ length: count }, () => 'a'.repeat(64));
    const rest = room - count * (each + 64);
    // What room is left goes into the first name, or into one more command.
    const fill =
      rest <= 63 ? ['a'.repeat(1 + rest), ...names] : ['a'.repeat(1 + rest - each - 1), 'a', ...names];
    const longest = of(...fill);
    expect(GRANT_MAX_BYTES).toBe(8192);
    expect(Buffer.byteLength(formatGrant(longest))).toBe(8192);
    expect(parseGrant(formatGrant(longest))).toEqual(longest);
    const longer = of(`${fill[0]}a`, ...fill.slice(1));
    expect(refusalOf(() => formatGrant(longer))).toBe('grant-too-long');
    expect(refusalOf(() => parseGrant(`${formatGrant(longest)} `))).toBe('grant-too-long');
    expect(refusalOf(() => parseGrant(`"${'é'.repeat(4096)}"`))).toBe('grant-too-long');
    expect(refusalOf(() => parseGrant('['.repeat(200_000)))).toBe('grant-too-long');
  });
});
