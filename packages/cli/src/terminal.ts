/**
 * What the command says. The product goes to stdout, the talk to stderr; nothing that came from elsewhere is printed with
 * control characters in it (ATTACKS.md I12). `--json` is a promise: one value, one line, stable names.
 */
import { plainText } from '@beacon/client';

export interface Terminal {
  /** One line of the product. */
  out(line: string): void;
  /** One JSON value as a line of the product. */
  json(value: unknown): void;
  /** One line of talk. */
  talk(line: string): void;
}

export interface Streams {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
}

/** A terminal on two streams; every line is made safe to show. */
export function createTerminal({ stdout, stderr }: Streams): Terminal {
  return {
    out: (line) => void stdout.write(`${plainText(line, 100_000)}\n`),
    // What plainText makes of a control character is the same character as JSON writes it.
    json: (value) =>
      void stdout.write(`${plainText(JSON.stringify(value, jsonForm), Number.POSITIVE_INFINITY)}\n`),
    talk: (line) => void stderr.write(`${plainText(line, 10_000)}\n`),
  };
}

/** Columns of equal width, two spaces between them; no line ends in spaces. */
export function formatTable(rows: readonly (readonly string[])[]): readonly string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** A time where the person is, with its zone. */
export function formatTime(time: Date): string {
  const parts = new Intl.DateTimeFormat('sv-SE', {
    dateStyle: undefined,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    timeZoneName: 'short',
  });
  return parts.format(time);
}

/** Serials are decimal strings in JSON; a Date already is a text in UTC. */
function jsonForm(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}
