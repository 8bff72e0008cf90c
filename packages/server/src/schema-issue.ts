/**
 * Says what a schema refused, for people: the place, what is wrong there, and for an unknown key the known one that was
 * probably meant. Values are never repeated, for they may be secret. Looks at schemas, makes none.
 */
import { didYouMean } from '@beacon/protocol/nearest';
import type { ZodError, ZodType } from 'zod';

export interface SchemaIssue {
  /** Keys and indexes from the root; ends in the unknown key itself where there is one. */
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** Each thing that the schema refused, in the order of the document. */
export function describeIssues(error: ZodError, schema: ZodType): readonly SchemaIssue[] {
  return error.issues.flatMap((issue): SchemaIssue[] => {
    if (issue.code === 'unrecognized_keys') {
      const known = knownKeys(schema, issue.path);
      return issue.keys.map((key) => ({
        path: [...issue.path, key],
        message: `unknown key ${JSON.stringify(key.slice(0, 80))}${didYouMean(key, known)}`,
      }));
    }
    return [{ path: issue.path, message: isMissing(issue) ? 'this is missing' : issue.message }];
  });
}

/** zod says "expected string, received undefined" of a value that is not there. */
function isMissing(issue: { readonly message: string }): boolean {
  return /^Invalid input: expected .*, received undefined$/.test(issue.message);
}

/** `a.b[2]`; the empty string for the root. */
export function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((key, index) => (typeof key === 'number' ? `[${key}]` : `${index === 0 ? '' : '.'}${String(key)}`))
    .join('');
}

/** Issues as one sentence: `at login: …; at commands[0]: …`. */
export function formatIssues(issues: readonly SchemaIssue[]): string {
  const shown = issues
    .slice(0, 5)
    .map(({ path, message }) =>
      path.length === 0 ? message : `at ${formatPath(path).slice(0, 200)}: ${message}`,
    );
  return (
    shown.join('; ') + (issues.length > shown.length ? `; and ${issues.length - shown.length} more` : '')
  );
}

/** What this file looks at in a schema, whatever its kind. */
export interface SchemaShape {
  readonly type: string;
  readonly shape?: Readonly<Record<string, ZodType>>;
  readonly innerType?: ZodType;
  readonly in?: ZodType;
  readonly element?: ZodType;
  readonly valueType?: ZodType;
  readonly options?: readonly ZodType[];
  readonly catchall?: ZodType;
  readonly defaultValue?: unknown;
}

export function shapeOf(schema: ZodType): SchemaShape {
  return schema.def as unknown as SchemaShape;
}

function knownKeys(schema: ZodType, path: readonly PropertyKey[]): readonly string[] {
  let candidates = unwrap(schema);
  for (const key of path) {
    candidates = candidates.flatMap((candidate) => {
      const { shape, element, valueType } = shapeOf(candidate);
      const next = typeof key === 'string' && shape !== undefined ? shape[key] : (element ?? valueType);
      return next === undefined ? [] : unwrap(next);
    });
  }
  return candidates.flatMap((candidate) => Object.keys(shapeOf(candidate).shape ?? {}));
}

/** The schemas that really describe the value, behind optional, default, pipe and union. */
function unwrap(schema: ZodType): readonly ZodType[] {
  const { innerType, in: input, options } = shapeOf(schema);
  if (options !== undefined) return options.flatMap(unwrap);
  const inner = innerType ?? input;
  return inner === undefined ? [schema] : unwrap(inner);
}
