/** Admits a command from the allowlist, runs it without a shell, records it. */
export { GateError, type GateErrorCode } from './error.ts';
export { main } from './main.ts';
