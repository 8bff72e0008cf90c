/** `beacon records tail`: the newest records of the CA, and on request those that follow. */
import { setTimeout as wait } from 'node:timers/promises';
import type { CaApi } from '@beacon/client';
import { parseRecord } from '@beacon/protocol/record';
import { type Context, openCa } from './context.ts';
import { usageError } from './error.ts';
import { formatTime } from './terminal.ts';

export interface TailOptions {
  readonly lines: string;
  readonly after?: string;
  readonly person?: string;
  readonly host?: string;
  readonly grant?: string;
  readonly follow: boolean;
  readonly json: boolean;
}

const PAGE = 500;
const FOLLOW_MS = 2000;

/** Prints records; with `--json` their exact lines, to be hashed as they are. */
export async function tailRecords(context: Context, options: TailOptions): Promise<number> {
  const lines = wholeNumber('--lines', options.lines);
  const { api } = await openCa(context);
  const filter = {
    ...(options.person === undefined ? {} : { person: options.person }),
    ...(options.host === undefined ? {} : { host: options.host }),
    ...(options.grant === undefined ? {} : { grant: options.grant }),
  };
  let after = options.after === undefined ? undefined : wholeNumber('--after', options.after);
  if (after === undefined && Object.keys(filter).length === 0) {
    const { head } = await api.records({ limit: '1' });
    after = Math.max(0, head.seq - lines);
  }
  const found = await readAfter(
    api,
    after ?? 0,
    filter,
    options.after === undefined ? Number.POSITIVE_INFINITY : lines,
  );
  const shown = options.after === undefined ? found.slice(-lines) : found;
  for (const line of shown) print(context, line, options.json);
  let last = seqOf(found.at(-1)) ?? after ?? 0;
  while (options.follow) {
    await wait(FOLLOW_MS);
    for (const line of await readAfter(api, last, filter, Number.POSITIVE_INFINITY)) {
      print(context, line, options.json);
      last = seqOf(line) ?? last;
    }
  }
  return 0;
}

async function readAfter(
  api: CaApi,
  after: number,
  filter: Readonly<Record<string, string>>,
  most: number,
): Promise<readonly string[]> {
  const found: string[] = [];
  let last = after;
  while (found.length < most) {
    const limit = Math.min(PAGE, most - found.length);
    const { records } = await api.records({ ...filter, after: String(last), limit: String(limit) });
    found.push(...records);
    const seq = seqOf(records.at(-1));
    if (records.length < limit || seq === undefined || seq <= last) break;
    last = seq;
  }
  return found;
}

function print(context: Context, line: string, json: boolean): void {
  if (json) {
    context.terminal.out(line);
    return;
  }
  const { seq, time, kind, person, service, host, grant, facts } = parseRecord(line);
  const parts = [String(seq), formatTime(time), kind, person, service, host, grant];
  const said = facts === undefined ? '' : ` ${JSON.stringify(facts)}`;
  context.terminal.out(`${parts.filter((part) => part !== undefined).join('  ')}${said}`);
}

function seqOf(line: string | undefined): number | undefined {
  return line === undefined ? undefined : parseRecord(line).seq;
}

function wholeNumber(name: string, text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw usageError(`${name} takes a whole number`);
  return Number(text);
}
