/** The operator's own procedures: what is read, and what is refused with its place before a host was ever asked. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it, test } from '@jest/globals';
import { BUILT_IN_PROCEDURES, readProcedures } from '../src/index.ts';

const top = mkdtempSync(join(tmpdir(), 'beacon-procedures-'));
let folder: string;
let count = 0;
beforeEach(() => {
  folder = join(top, String(++count));
  mkdirSync(folder);
});
afterAll(() => rmSync(top, { recursive: true, force: true }));

const write = (text: string, name = 'own.yaml'): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const one = (body: string, name = 'greet'): string => `version: 1\nprocedures:\n  ${name}:\n${body}`;
const GREET = `    summary: Say hello
    params:
      who: { pattern: "[a-z]+", default: world }
      key: { pattern: ".+", secret: true, summary: the key }
    steps:
      - command: greet.look
      - command: greet.say
        params: { who: "{who}", how: loud }
        secrets: [key]
        undo: { command: greet.hush, params: { who: "{who}" } }
`;

describe('a file of procedures', () => {
  it('gives its own beside those that are built in', () => {
    const all = readProcedures(write(one(GREET)));
    expect([...all.keys()]).toEqual([...BUILT_IN_PROCEDURES.keys(), 'greet']);
    const greet = all.get('greet');
    expect(greet).toMatchObject({ origin: 'operator', summary: 'Say hello', github: undefined });
    expect(greet?.parameters.get('who')).toMatchObject({ whenAbsent: { take: 'value', value: 'world' } });
    expect(greet?.parameters.get('key')).toMatchObject({ isSecret: true, whenAbsent: { take: 'nothing' } });
    expect(greet?.steps[1]).toEqual({
      ...{ command: 'greet.say', preparation: 'none', params: { who: '{who}', how: 'loud' } },
      ...{ secrets: ['key'], undo: { command: 'greet.hush', params: { who: '{who}' } } },
    });
  });

  it('may be a folder, of which only *.yaml is read', () => {
    write(one(GREET, 'first'), 'a.yaml');
    write(one(GREET, 'second'), 'b.yaml');
    write('not read', 'notes.txt');
    expect([...readProcedures(folder).keys()].slice(-2)).toEqual(['first', 'second']);
  });

  it('is not needed', () => {
    expect(readProcedures(undefined)).toEqual(BUILT_IN_PROCEDURES);
  });
});

describe('refuses, with the place,', () => {
  const STEP = '    summary: x\n    steps: [{ command: a.b, params: { x: "{x}" } }]\n';
  const withParam = (param: string, step = 'params: { x: "{x}" }'): string =>
    `    summary: x\n    params: { x: ${param} }\n    steps: [{ command: a.b, ${step} }]\n`;

  test.each<[string, string, string | RegExp]>([
    [
      'an unknown key',
      one(`${GREET}    stepz: []\n`),
      /own\.yaml:14:5: procedures\.greet\.stepz: unknown key/,
    ],
    ['no step', one('    summary: x\n    steps: []\n'), /procedures\.greet\.steps/],
    ['a name that is no name', one(GREET, 'Greet'), /Greet: it is not a command name/],
    ['a name that is built in', one(GREET, 'runner.retire'), /procedures\.runner\.retire: it is built in/],
    ['a pattern that is none', one(withParam('{ pattern: "(" }')), /greet\.params\.x\.pattern: /],
    [
      'a default that its pattern refuses',
      one(withParam('{ pattern: "[0-9]", default: x }')),
      /greet\.params\.x: its default does not match/,
    ],
    [
      'a secret with a default',
      one(withParam('{ pattern: ".", default: x, secret: true }', 'secrets: [x]')),
      /greet\.params\.x: a secret has a default/,
    ],
    [
      'a secret as a plain value',
      one(withParam('{ pattern: ".", secret: true }')),
      /greet\.steps\[0\]\.params\.x: x is secret: name it under secrets/,
    ],
    ['a placeholder for nothing', one(STEP), /greet\.steps\[0\]\.params\.x: there is no parameter x/],
    [
      'a placeholder within a text',
      one(withParam('{ pattern: "." }', 'params: { x: "a{x}" }')),
      /params\.x: a brace stands within a text/,
    ],
    [
      'a parameter that nothing uses',
      one(withParam('{ pattern: "." }', 'params: {}')),
      /greet\.params\.x: it is used nowhere/,
    ],
    [
      'a secret that nobody gives',
      one(withParam('{ pattern: "." }', 'params: { x: "{x}" }, secrets: [y]')),
      /greet\.steps\[0\]\.secrets: there is no secret parameter y/,
    ],
    [
      'GitHub before a grant, and without a runner',
      one(withParam('{ pattern: "." }', 'params: { x: "{x}" }, github: register')),
      /the first step needs something of GitHub[\s\S]*names no runner[\s\S]*nowhere to put it/,
    ],
    [
      'a command that a certificate would hold twice',
      one('    summary: x\n    steps: [{ command: a.b }, { command: a.c }, { command: a.b }]\n'),
      /greet\.steps\[2\]\.command: a\.b stands there a second time/,
    ],
    ['two documents', `${one(GREET)}---\n${one(GREET)}`, /exactly one document/],
  ])('%s', (_, text, said) => {
    const read = (): unknown => readProcedures(write(text));
    expect(read).toThrow(expect.objectContaining({ code: 'configuration' }));
    expect(read).toThrow(said);
  });

  it('a name that two files have', () => {
    write(one(GREET), 'a.yaml');
    write(one(GREET), 'b.yaml');
    expect(() => readProcedures(folder)).toThrow(/b\.yaml: procedures\.greet: another file has it too/);
  });
});
