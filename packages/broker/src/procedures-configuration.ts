/**
 * The operator's own procedures: a strict YAML file, or a folder of them, read when the broker starts. What it says is
 * checked whole there; what a host makes of it when a run is planned.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ProtocolError } from '@beacon/protocol';
import { compilePattern, type Pattern } from '@beacon/protocol/pattern';
import { readConfiguration } from '@beacon/server';
import { z } from 'zod';
import { BUILT_IN_PROCEDURES } from './built-in-procedures.ts';
import { BrokerError } from './error.ts';
import { checkProcedure, describeDefects, MOST_STEPS, type Procedure } from './procedure.ts';

const values = z.record(z.string(), z.string().max(4096)).default({});

const parameter = z.strictObject({
  pattern: z.string().min(1).max(1000).describe("what a value may be, in the allowlist's syntax"),
  summary: z
    .string()
    .min(1)
    .max(300)
    .default('see the summary of the procedure')
    .describe('shown to who gives it'),
  default: z.string().max(4096).optional().describe('taken where none is given; without it one must be'),
  secret: z.boolean().default(false).describe('goes to commands on standard input, and is kept nowhere'),
});

const step = z.strictObject({
  command: z.string().min(1).max(64).describe("a command of the host's allowlist"),
  params: values.describe('by the names of the command: a text, or "{parameter}" for the whole value'),
  secrets: z
    .array(z.string())
    .max(16)
    .default([])
    .describe('secret parameters of command and procedure alike'),
  github: z
    .enum(['none', 'register', 'drain', 'online'])
    .default('none')
    .describe('what is done there right before: a registration token, the runner deleted, seen online'),
  undo: z
    .strictObject({
      command: z.string().min(1).max(64).describe('what takes it back; the host must name the same'),
      params: values.describe('its values'),
    })
    .optional(),
});

const procedure = z.strictObject({
  summary: z.string().min(1).max(300).describe('shown to people'),
  params: z.record(z.string(), parameter).default({}),
  github: z
    .strictObject({
      scope: z.string().describe('the parameter with the repository or organisation'),
      runner: z.string().describe("the parameter with the runner's name"),
    })
    .optional(),
  steps: z.array(step).min(1).max(MOST_STEPS),
});

export const proceduresFile = z.strictObject({
  version: z.literal(1),
  procedures: z.record(z.string(), procedure),
});

/**
 * All procedures by name: those that are built in, and those of `path`, a file or a folder of `*.yaml`. Throws
 * ServerError `configuration`, BrokerError `configuration`; the message has a line for each defect, with its remedy.
 */
export function readProcedures(path: string | undefined): ReadonlyMap<string, Procedure> {
  const all = new Map(BUILT_IN_PROCEDURES);
  for (const file of path === undefined ? [] : filesOf(path)) {
    for (const one of readFile(file)) {
      const known = all.get(one.name);
      if (known !== undefined) {
        const why = known.origin === 'built-in' ? 'it is built in' : 'another file has it too';
        throw new BrokerError(
          'configuration',
          `${file}: procedures.${one.name}: ${why}: give it another name`,
        );
      }
      all.set(one.name, one);
    }
  }
  return all;
}

function filesOf(path: string): string[] {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  if (!isFolder) return [path];
  return readdirSync(path)
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .map((name) => join(path, name));
}

function readFile(file: string): Procedure[] {
  const { procedures } = readConfiguration(file, proceduresFile);
  const read = Object.entries(procedures).map(
    ([name, { summary, params, github, steps }]): Procedure => ({
      name,
      summary,
      origin: 'operator',
      parameters: new Map(
        Object.entries(params).map(([key, entry]) => [
          key,
          {
            summary: entry.summary,
            pattern: readPattern(`${file}: ${name}.params.${key}.pattern`, entry.pattern),
            isSecret: entry.secret,
            whenAbsent:
              entry.default === undefined ? { take: 'nothing' } : { take: 'value', value: entry.default },
          },
        ]),
      ),
      steps: steps.map((one) => ({
        command: one.command,
        preparation: one.github,
        params: one.params,
        secrets: one.secrets,
        undo: one.undo,
      })),
      github,
    }),
  );
  const defects = read.flatMap(checkProcedure).map((one) => ({ ...one, place: `${file}: ${one.place}` }));
  if (defects.length > 0) throw new BrokerError('configuration', describeDefects(defects));
  return read;
}

function readPattern(place: string, source: string): Pattern {
  try {
    return compilePattern(source);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new BrokerError('configuration', `${place}: ${error.message}`, { cause: error });
  }
}
