/**
 * One configuration file per program, YAML (1.2, core schema), read once. Strict: one document, no doubled keys, no
 * anchors, aliases, tags or merges, unknown keys refused with their place and the nearest known key. Secrets are named
 * by path in it, never by value. Does not watch the file and fills in nothing but the schema's own defaults.
 */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import {
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  LineCounter,
  type Node,
  parseAllDocuments,
  visit,
} from 'yaml';
import { type ZodObject, type ZodType, z } from 'zod';
import { ServerError } from './error.ts';
import { describeIssues, formatPath, shapeOf } from './schema-issue.ts';

const MAX_BYTES = 256 * 1024;
const MAX_SHOWN = 20;

/**
 * The values of the file at `path`. Throws ServerError `configuration` whose message has one line for each defect,
 * `file:line:column: what is wrong`.
 */
export function readConfiguration<Schema extends ZodObject>(path: string, schema: Schema): z.output<Schema> {
  return parseConfiguration(readBounded(path), path, schema);
}

/** {@link readConfiguration} over a text; `path` is only named in errors. */
export function parseConfiguration<Schema extends ZodType>(
  text: string,
  path: string,
  schema: Schema,
): z.output<Schema> {
  requireStrict(schema, []);
  const lines = new LineCounter();
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${path}:${Math.max(line, 1)}:${Math.max(col, 1)}`;
  };
  const documents = parseAllDocuments(text, {
    lineCounter: lines,
    strict: true,
    uniqueKeys: true,
    merge: false,
    schema: 'core',
    version: '1.2',
    prettyErrors: false,
    stringKeys: true,
  });
  if (!Array.isArray(documents) || documents.length !== 1) {
    throw refused([`${path}:1:1: the file must hold exactly one document`]);
  }
  const [document] = documents;
  if (document === undefined) throw refused([`${path}:1:1: the file must hold exactly one document`]);
  const faults = [...document.errors, ...document.warnings].map(
    (fault) => `${at(fault.pos[0])}: ${fault.message}`,
  );
  visit(document, {
    Node: (_key, node: Node) => {
      const place = at(node.range?.[0] ?? 0);
      if (isAlias(node)) faults.push(`${place}: aliases are not allowed: write the value out`);
      else if ('anchor' in node && node.anchor !== undefined) {
        faults.push(`${place}: anchors are not allowed: write the value out where it is needed`);
      } else if (node.tag !== undefined) faults.push(`${place}: tags are not allowed: remove ${node.tag}`);
    },
  });
  if (faults.length > 0) throw refused(faults);
  const result = schema.safeParse(document.toJS({ maxAliasCount: 0 }) ?? {});
  if (result.success) return result.data;
  throw refused(
    describeIssues(result.error, schema).map(({ path: keys, message }) => {
      const name = formatPath(keys);
      return `${at(offsetOf(document.contents, keys))}: ${name === '' ? '' : `${name}: `}${message}`;
    }),
  );
}

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const DURATION = /^([1-9][0-9]{0,8})(ms|s|m|h|d)$/;

/** A length of time as people write it: `500ms`, `30s`, `15m`, `8h`, `30d`. The value is milliseconds. */
export const duration = z
  .string()
  .regex(DURATION, 'expected a length of time such as 30s, 15m, 8h or 30d')
  .transform((text) => {
    const [, count, unit] = DURATION.exec(text) ?? [];
    return Number(count) * UNITS[unit as keyof typeof UNITS];
  });

export interface Setting {
  /** `session.max_hours`; `hosts[]` and `labels.*` stand for each member. */
  readonly key: string;
  readonly required: boolean;
  /** As one would write it; undefined when there is none. */
  readonly default: string | undefined;
  /** What the schema's `.describe()` says. */
  readonly description: string;
}

/** Every setting of a schema with its default, in the order written, for `--help` and the docs. */
export function describeDefaults(schema: ZodType): readonly Setting[] {
  return describe(schema, '', { required: true, default: undefined, description: '' });
}

function describe(schema: ZodType, key: string, outer: Omit<Setting, 'key'>): readonly Setting[] {
  const { type, shape, innerType, in: input, element, valueType, defaultValue } = shapeOf(schema);
  const here = { ...outer, description: outer.description || (schema.description ?? '') };
  switch (type) {
    case 'object':
      return Object.entries(shape ?? {}).flatMap(([name, inner]) =>
        describe(inner, key === '' ? name : `${key}.${name}`, {
          required: true,
          default: undefined,
          description: '',
        }),
      );
    case 'optional':
    case 'nullable':
      return innerType === undefined ? [] : describe(innerType, key, { ...here, required: false });
    case 'default':
    case 'prefault':
      return innerType === undefined
        ? []
        : describe(innerType, key, {
            ...here,
            required: false,
            default: formatDefault(defaultValue, innerType),
          });
    case 'array':
      return [{ key, ...here }, ...describeMembers(element, `${key}[]`)];
    case 'record':
      return [{ key, ...here }, ...describeMembers(valueType, `${key}.*`)];
    default: {
      const inner = innerType ?? input;
      return inner === undefined ? [{ key, ...here }] : describe(inner, key, here);
    }
  }
}

/** Members matter for what they are made of; a list of plain texts is said by its own line. */
function describeMembers(member: ZodType | undefined, key: string): readonly Setting[] {
  if (member === undefined || shapeOf(member).type !== 'object') return [];
  return describe(member, key, { required: true, default: undefined, description: '' });
}

function formatDefault(value: unknown, schema: ZodType): string | undefined {
  if (shapeOf(schema).type === 'object') return undefined;
  if (schema === (duration as ZodType) && typeof value === 'number') return formatDuration(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Milliseconds in the longest unit that fits exactly: 900000 is `15m`. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    if (ms > 0 && ms % UNITS[unit] === 0) return `${ms / UNITS[unit]}${unit}`;
  }
  return `${ms}ms`;
}

/** An object that lets unknown keys pass is a mistake in the program, found when it first reads a file. */
function requireStrict(schema: ZodType, path: readonly string[]): void {
  const { type, shape, innerType, in: input, element, valueType, options, catchall } = shapeOf(schema);
  if (type === 'object' && (catchall === undefined || shapeOf(catchall).type !== 'never')) {
    throw new ServerError('definition', `the schema at ${JSON.stringify(path.join('.'))} is not strict`);
  }
  for (const [key, inner] of Object.entries(shape ?? {})) requireStrict(inner, [...path, key]);
  for (const inner of [innerType, input, element, valueType, ...(options ?? [])]) {
    if (inner !== undefined) requireStrict(inner, path);
  }
}

/** Where the value at these keys stands; for an unknown key the key itself; else the nearest thing around it. */
function offsetOf(root: unknown, keys: readonly PropertyKey[]): number {
  let node = root;
  let offset = isNode(root) ? (root.range?.[0] ?? 0) : 0;
  for (const key of keys) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === key);
      if (pair === undefined) break;
      if (isNode(pair.key)) offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else if (node !== null && typeof node === 'object' && 'items' in node && Array.isArray(node.items)) {
      node = node.items[Number(key)];
      if (isNode(node)) offset = node.range?.[0] ?? offset;
    } else break;
  }
  return offset;
}

function readBounded(path: string): string {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    throw refused(
      [`${path}:1:1: the file cannot be opened: does it exist, and may this process read it?`],
      error,
    );
  }
  try {
    const status = fstatSync(file);
    if (!status.isFile()) throw refused([`${path}:1:1: this is not a plain file`]);
    if (status.size > MAX_BYTES) throw refused([`${path}:1:1: the file is longer than ${MAX_BYTES} bytes`]);
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file));
  } catch (error) {
    if (error instanceof ServerError) throw error;
    throw refused([`${path}:1:1: the file is not UTF-8`], error);
  } finally {
    closeSync(file);
  }
}

function refused(faults: readonly string[], cause?: unknown): ServerError {
  const rest = faults.length - MAX_SHOWN;
  const shown = [...faults.slice(0, MAX_SHOWN), ...(rest > 0 ? [`and ${rest} more`] : [])];
  return new ServerError('configuration', shown.join('\n'), { cause });
}
