/** The package's product is the command `beacon` (`main.ts`); programs use `@beacon/client`. */
export { createProgram } from './program.ts';
