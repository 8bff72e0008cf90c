/** The bundled gate's one way in and out: what sudo starts on a host. */
import { GateError } from './error.ts';
import { main } from './main.ts';

const FAILED = 70;

void main(process.argv.slice(2)).then(
  // Whoever still holds a stream open does not keep the gate.
  (status) => process.exit(status),
  (error: unknown) => {
    process.stderr.write(`beacon-gate: ${error instanceof GateError ? error.message : 'it failed'}\n`);
    process.exit(FAILED);
  },
);
