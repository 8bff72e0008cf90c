/**
 * The values of a run's secret parameters, by name: what the person gave along, and what GitHub gave for the next step,
 * which comes first. In memory only, each until it was sent.
 */
import { BrokerError } from './error.ts';
import type { OutputRedaction } from './output-redaction.ts';
import type { PlannedStep } from './run-order.ts';

type Values = Readonly<Record<string, string>>;

export class RunSecrets {
  readonly #redaction: OutputRedaction;
  readonly #given = new Map<string, string>();
  readonly #prepared = new Map<string, string>();

  /** `redaction` hears of each value, and keeps it until the run rests: a command may print it late. */
  constructor(redaction: OutputRedaction) {
    this.#redaction = redaction;
  }

  give(values: Values): void {
    this.#keep(this.#given, values);
  }

  prepare(values: Values): void {
    this.#prepared.clear();
    this.#keep(this.#prepared, values);
  }

  /** Throws BrokerError `params-malformed` for one that is not there. */
  of({ command, secretNames }: Pick<PlannedStep, 'command' | 'secretNames'>): ReadonlyMap<string, string> {
    const values = new Map<string, string>();
    for (const name of secretNames) {
      const value = this.#prepared.get(name) ?? this.#given.get(name);
      if (value === undefined) {
        throw new BrokerError(
          'params-malformed',
          `${command} needs the secret ${name}, which is never kept: begin again and give it along`,
        );
      }
      values.set(name, value);
    }
    return values;
  }

  /** A step was sent: what it needed is not kept, but for what a later step needs by the same name. */
  forget(steps: readonly Pick<PlannedStep, 'secretNames'>[], sent: number): void {
    const later = new Set(steps.slice(sent + 1).flatMap(({ secretNames }) => secretNames));
    for (const name of steps[sent]?.secretNames ?? []) {
      if (later.has(name)) continue;
      this.#given.delete(name);
      this.#prepared.delete(name);
    }
  }

  clear(): void {
    this.#given.clear();
    this.#prepared.clear();
  }

  #keep(kept: Map<string, string>, values: Values): void {
    for (const [name, value] of Object.entries(values)) {
      kept.set(name, value);
      this.#redaction.add(value);
    }
  }
}
