/**
 * The lines that a gate writes (DESIGN.md section 5, "Session"), one JSON object each. `id` is that of the request which
 * the line is about. Bytes of a command's output that are not UTF-8 come as base64.
 *
 * | event | when |
 * |---|---|
 * | `hello` | once, first, when the certificate was accepted |
 * | `started`, `stdout`, `stderr`, `truncated`, `exit` | of a command; `truncated` once, where its output was cut |
 * | `alive` | every 10 s of silence |
 * | `undone`, `left` | of an undo: how it ended, or why it did not run |
 * | `replaced` | a later certificate has replaced the grant |
 * | `refused` | by which rule, and why; without `id` when the session itself is refused |
 * | `closed` | once, last |
 */

import type { ChainHead } from './checkpoint.ts';
import { ProtocolError } from './error.ts';
import { parseStrictJson } from './strict-json.ts';
import { ValueReader } from './value-reader.ts';

/** Why a command or a session came to its end. */
export const ENDINGS = [
  'ended',
  'timeout',
  'memory',
  'revoked',
  'cancelled',
  'lost',
  'idle',
  'failed',
  'unavailable',
] as const;
export type Ending = (typeof ENDINGS)[number];

/** How a program ended: a status, or the signal that ended it. */
export interface ExitStatus {
  readonly code: number | null;
  readonly signal: string | null;
}

export type OutputData = { readonly text: string } | { readonly base64: string };

export type GateEvent =
  | {
      readonly event: 'hello';
      readonly version: string;
      readonly host: string;
      readonly grant: string;
      /** Until when a command may start; UTC with milliseconds. */
      readonly until: string;
      /** SHA-256 of the allowlist's bytes, lower-case hex. */
      readonly allowlist: string;
      readonly head: ChainHead;
      /** Says what this gate is not fit for. */
      readonly notice?: string;
    }
  | { readonly event: 'started'; readonly id: number; readonly command: string }
  | ({ readonly event: 'stdout' | 'stderr'; readonly id: number } & OutputData)
  | { readonly event: 'truncated'; readonly id: number; readonly max_output_bytes: number }
  | { readonly event: 'alive' }
  | ({
      readonly event: 'exit';
      readonly id: number;
      readonly why: Ending;
      readonly duration_ms: number;
      readonly head: ChainHead;
    } & ExitStatus)
  | ({
      readonly event: 'undone';
      readonly id: number;
      readonly command: string;
      readonly why: Ending;
      readonly head: ChainHead;
    } & ExitStatus)
  | { readonly event: 'left'; readonly id: number; readonly command: string; readonly reason: string }
  | { readonly event: 'replaced'; readonly id: number; readonly grant: string; readonly until: string }
  | { readonly event: 'refused'; readonly id?: number; readonly code: string; readonly reason: string }
  | { readonly event: 'closed'; readonly why: Ending; readonly head: ChainHead };

/** The line, without a newline. */
export function formatGateEvent(event: GateEvent): string {
  return JSON.stringify({ v: 1, ...event });
}

/** Reads one line, without its newline. Throws ProtocolError `gate-line-malformed` or `json-…`. */
export function parseGateEvent(line: string): GateEvent {
  const value = parseStrictJson(line);
  const top = new ValueReader('gate-line-malformed', 'event', value);
  const kind =
    typeof value === 'object' && value !== null && !Array.isArray(value) ? value['event'] : undefined;
  const read = <Required extends string, Optional extends string = never>(
    required: readonly Required[],
    optional: readonly Optional[] = [],
  ) => {
    const members = top.members(['v', 'event', ...required] as ('v' | 'event' | Required)[], optional);
    if ((members as { v: ValueReader }).v.value !== 1) throw top.refusal('its version is not 1');
    return members as Record<Required, ValueReader> & Record<Optional, ValueReader | undefined>;
  };
  switch (kind) {
    case 'hello': {
      const at = read(['version', 'host', 'grant', 'until', 'allowlist', 'head'], ['notice']);
      const notice = at.notice?.text(200);
      return {
        event: 'hello',
        version: at.version.text(64),
        host: at.host.name('host'),
        grant: at.grant.text(26),
        until: at.until.text(24),
        allowlist: at.allowlist.text(64),
        head: readHead(at.head),
        ...(notice === undefined ? {} : { notice }),
      };
    }
    case 'started': {
      const { id, command } = read(['id', 'command']);
      return { event: 'started', id: readId(id), command: command.name('command') };
    }
    case 'stdout':
    case 'stderr': {
      const { id, text, base64 } = read(['id'], ['text', 'base64']);
      return { event: kind, id: readId(id), ...readData(top, text, base64) };
    }
    case 'truncated': {
      const { id, max_output_bytes } = read(['id', 'max_output_bytes']);
      return {
        event: 'truncated',
        id: readId(id),
        max_output_bytes: max_output_bytes.integer(0, Number.MAX_SAFE_INTEGER),
      };
    }
    case 'alive':
      read([]);
      return { event: 'alive' };
    case 'exit': {
      const at = read(['id', 'code', 'signal', 'duration_ms', 'why', 'head']);
      return {
        event: 'exit',
        id: readId(at.id),
        ...readStatus(at.code, at.signal),
        duration_ms: at.duration_ms.integer(0, Number.MAX_SAFE_INTEGER),
        why: readEnding(at.why),
        head: readHead(at.head),
      };
    }
    case 'undone': {
      const at = read(['id', 'command', 'code', 'signal', 'why', 'head']);
      return {
        event: 'undone',
        id: readId(at.id),
        command: at.command.name('command'),
        ...readStatus(at.code, at.signal),
        why: readEnding(at.why),
        head: readHead(at.head),
      };
    }
    case 'left': {
      const { id, command, reason } = read(['id', 'command', 'reason']);
      return { event: 'left', id: readId(id), command: command.name('command'), reason: reason.text() };
    }
    case 'replaced': {
      const { id, grant, until } = read(['id', 'grant', 'until']);
      return { event: 'replaced', id: readId(id), grant: grant.text(26), until: until.text(24) };
    }
    case 'refused': {
      const { id, code, reason } = read(['code', 'reason'], ['id']);
      const about = id === undefined ? {} : { id: readId(id) };
      return { event: 'refused', ...about, code: code.text(64), reason: reason.text() };
    }
    case 'closed': {
      const { why, head } = read(['why', 'head']);
      return { event: 'closed', why: readEnding(why), head: readHead(head) };
    }
    default:
      throw new ProtocolError('gate-line-malformed', 'event: its kind is unknown');
  }
}

function readData(
  top: ValueReader,
  text: ValueReader | undefined,
  base64: ValueReader | undefined,
): OutputData {
  // The text of a command's output may hold whatever UTF-8 can hold.
  if (base64 === undefined && typeof text?.value === 'string') return { text: text.value };
  if (text === undefined && base64 !== undefined) return { base64: base64.text() };
  throw top.refusal('it has either text or base64');
}

function readStatus(code: ValueReader, signal: ValueReader): ExitStatus {
  return {
    code: code.value === null ? null : code.integer(0, 255),
    signal: signal.value === null ? null : signal.text(32),
  };
}

function readEnding(reader: ValueReader): Ending {
  const found = ENDINGS.find((ending) => ending === reader.value);
  if (found === undefined) throw reader.refusal(`it must be one of ${ENDINGS.join(', ')}`);
  return found;
}

function readHead(reader: ValueReader): ChainHead {
  const { seq, hash } = reader.members(['seq', 'hash']);
  const text = hash.text(64);
  if (!/^[0-9a-f]{64}$/.test(text)) throw hash.refusal('it must be a hash in lower-case hex');
  return { seq: seq.integer(0, Number.MAX_SAFE_INTEGER), hash: text };
}

function readId(reader: ValueReader): number {
  return reader.integer(1, Number.MAX_SAFE_INTEGER);
}
