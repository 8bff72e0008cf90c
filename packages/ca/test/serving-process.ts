/** A process of its own for `two-processes.test.ts`: `beacon ca …` from the sources. It is killed from outside. */
import { main } from '../src/main.ts';

process.exitCode = await main(process.argv.slice(2));
