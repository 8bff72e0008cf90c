/** The authority: knows who is asking, asks policy, records, signs. */
export { type CaOptions, createCa, type RunningCa } from './create-ca.ts';
export { CaError, type CaErrorCode } from './error.ts';
export type { CaKeys } from './keys.ts';
export { main } from './main.ts';
