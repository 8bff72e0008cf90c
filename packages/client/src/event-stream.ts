/**
 * Server-Sent Events as bytes that arrive (HTML, section 9.2): lines that end in LF, CR or CRLF, fields `id`, `event` and
 * `data`, an empty line that sends the event off. An event that the end of the stream cuts short is none. Length is
 * bounded: a server that never ends a line is refused. `retry` is passed over; when to come again is the caller's.
 */
import { TextDecoder } from 'node:util';
import { ClientError } from './error.ts';

export interface StreamEvent {
  /** The last id that was said, of this event or one before it. */
  readonly id: string;
  /** `message` when it has no name. */
  readonly name: string;
  readonly data: string;
}

/** A gate's line is at most 64 KiB; as JSON within JSON it may be six times that. */
const MAX_EVENT_CHARACTERS = 1024 * 1024;

/**
 * The events of a stream. `heard` is called for whatever arrives, comments too. Throws ClientError `answer-too-long` or
 * `answer-malformed`, and what the stream throws.
 */
export async function* readEventStream(
  stream: AsyncIterable<Uint8Array>,
  heard: () => void = () => undefined,
): AsyncGenerator<StreamEvent> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  let id = '';
  let name = '';
  let data: string[] = [];
  let length = 0;
  for await (const bytes of stream) {
    heard();
    const { lines, last } = splitLines(rest + decode(decoder, bytes));
    rest = last;
    if (rest.length > MAX_EVENT_CHARACTERS) throw tooLong();
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield { id, name: name === '' ? 'message' : name, data: data.join('\n') };
        [name, data, length] = ['', [], 0];
        continue;
      }
      length += line.length;
      if (length > MAX_EVENT_CHARACTERS) throw tooLong();
      const { field, value } = splitField(line);
      if (field === 'data') data.push(value);
      else if (field === 'event') name = value;
      else if (field === 'id' && !value.includes('\0')) id = value;
    }
  }
}

/** The whole lines, and what of a line has arrived. A CR at the end may be half of a CRLF: it waits for what follows. */
function splitLines(text: string): { readonly lines: readonly string[]; readonly last: string } {
  const held = text.endsWith('\r') ? '\r' : '';
  const lines = text.slice(0, text.length - held.length).split(/\r\n|\n|\r/);
  const last = lines.pop() ?? '';
  return { lines, last: last + held };
}

/** A comment begins with a colon and so has no name. */
function splitField(line: string): { readonly field: string; readonly value: string } {
  const colon = line.indexOf(':');
  if (colon === -1) return { field: line, value: '' };
  return { field: line.slice(0, colon), value: line.slice(colon + 1).replace(/^ /, '') };
}

function decode(decoder: TextDecoder, bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes, { stream: true });
  } catch (error) {
    throw new ClientError(
      'answer-malformed',
      'internal',
      "the server's events are no UTF-8: check that the address is that of a Beacon server, and its version",
      { cause: error },
    );
  }
}

function tooLong(): ClientError {
  return new ClientError(
    'answer-too-long',
    'internal',
    'the server sends an event that does not end: check that the address is that of a Beacon server',
  );
}
