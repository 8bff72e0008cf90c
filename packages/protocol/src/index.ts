/** The package is imported by subpath (`@beacon/protocol/name`); this index holds what nearly every program needs. */
export { ProtocolError, type ProtocolErrorCode } from './error.ts';
export { createId, isId } from './id.ts';
export { isName, type NameKind, parseName } from './name.ts';
export { type Problem, type ProblemKind, problemKinds } from './problem.ts';
