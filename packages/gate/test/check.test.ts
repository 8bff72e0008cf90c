import { parseAllowlist } from '@beacon/protocol/allowlist';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { checkAllowlist } from '../src/check.ts';
import { contractOf, describeContract } from '../src/contract.ts';
import { SmallHost } from './small-host.ts';

let host: SmallHost;
beforeEach(async () => {
  host = await SmallHost.open();
});
afterEach(() => host.close());

const read = (commands: object) =>
  parseAllowlist(Buffer.from(JSON.stringify({ version: 1, places: { root: '/opt/r' }, commands })));
const check = (commands: object) =>
  checkAllowlist(read(commands), host.places.passwd, { uid: process.getuid?.() ?? 0, below: host.folder });

const plain = { summary: 'Say hello', timeout_seconds: 20, run_as: 'worker' };

describe('a check of an allowlist', () => {
  it('finds nothing in one that is in order', () => {
    const argv = [host.script('a', ''), '{name}'];
    expect(check({ a: { ...plain, argv, params: { name: { pattern: '[a-z-]+' } } } })).toEqual([]);
  });

  it('finds programs and accounts that are not there', () => {
    const found = check({
      a: { ...plain, argv: ['/nonexistent/a'] },
      b: { ...plain, argv: [host.script('b', '')], run_as: 'nobody-else' },
      c: {
        ...plain,
        argv: [host.script('c', ''), '{n}'],
        params: { n: { pattern: 'x' } },
        run_as: { pool: 'none' },
        exclusive: 'n',
      },
    });
    expect(found.map(({ kind, command }) => [kind, command])).toEqual([
      ['defect', 'a'],
      ['defect', 'b'],
      ['defect', 'c'],
    ]);
  });

  it('G12: notes patterns that let a value be more than a value', () => {
    const argv = [host.script('a', ''), '{n}'];
    const notes = check({ a: { ...plain, argv, params: { n: { pattern: '.*' } } } });
    expect(notes.map(({ kind }) => kind)).toEqual(['note', 'note', 'note', 'note', 'note']);
    expect(check({ a: { ...plain, argv, params: { n: { pattern: '[a-z]+' } } } })).toEqual([]);
  });
});

describe('the contract', () => {
  const list = read({
    'a.make': {
      ...plain,
      argv: ['/usr/bin/make', '{root}', '{name}', 'two words'],
      params: { name: { pattern: '[a-z]+' }, token: { pattern: '[A-Z]+', secret: true } },
      exclusive: 'name',
      undo: 'a.unmake',
    },
    'a.unmake': { ...plain, argv: ['/usr/bin/unmake'] },
  });

  it('says in words what a command runs, as whom, with which arguments', () => {
    expect(describeContract(list)).toBe(`a.make: Say hello
  runs /usr/bin/make /opt/r {name} "two words"
  as worker, at most 20 s, 256 processes, 1073741824 bytes of memory, 1048576 bytes of output
  name: [a-z]+
  token, secret, on standard input: [A-Z]+
  once at a time for each name
  taken back by a.unmake

a.unmake: Say hello
  runs /usr/bin/unmake
  as worker, at most 20 s, 256 processes, 1073741824 bytes of memory, 1048576 bytes of output

2 commands, digest ${list.digest}
`);
  });

  it('is an allowlist again when it is read as one', () => {
    const { commands } = contractOf(list);
    const again = parseAllowlist(Buffer.from(JSON.stringify({ version: 1, commands })));
    expect(contractOf(again)['commands']).toEqual(commands);
  });
});
