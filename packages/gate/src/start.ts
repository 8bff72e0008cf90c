/** The bundled gate's one way in and out: what sudo starts on a host. */
import { GateError, type GateErrorCode } from './error.ts';
import { main } from './main.ts';

const STATUS: Readonly<Partial<Record<GateErrorCode, number>>> = { 'allowlist-refused': 78, usage: 64 };
const FAILED = 70;

void main(process.argv.slice(2)).then(
  // Whoever still holds a stream open does not keep the gate.
  (status) => process.exit(status),
  (error: unknown) => {
    const isKnown = error instanceof GateError;
    process.stderr.write(`beacon-gate: ${isKnown ? error.message : 'it failed'}\n`);
    process.exit((isKnown ? STATUS[error.code] : undefined) ?? FAILED);
  },
);
