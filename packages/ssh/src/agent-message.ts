/**
 * The messages of the SSH agent protocol (draft-ietf-sshm-ssh-agent) as values, both directions, and the frames that carry them. Decoding
 * is strict and total. Only what listing and signing need has a form of its own; every other request is `unsupported` with its number, so
 * that nothing else can be asked for. The agent is `agent-server.ts`, the one who asks it `agent-client.ts`.
 *
 * | number | message | content |
 * |---|---|---|
 * | 11 | request identities | nothing |
 * | 13 | sign | string key, string data, uint32 flags |
 * | 27 | extension | string name, then its own content |
 * | 5, 6, 28 | failure, success, extension failure | nothing |
 * | 12 | identities | uint32 count, then string key and string comment each |
 * | 14 | signature | string |
 */
import { Buffer } from 'node:buffer';
import { SshError } from './error.ts';
import { MAX_BLOB_BYTES, Reader, Writer } from './wire.ts';

/** What an agent lists: the blob of a plain key or of a certificate, and its comment. */
export interface ListedIdentity {
  readonly blob: Buffer;
  readonly comment: string;
}

export type AgentRequest =
  | { readonly kind: 'request-identities' }
  | { readonly kind: 'sign'; readonly blob: Buffer; readonly data: Buffer; readonly flags: number }
  | { readonly kind: 'extension'; readonly name: string; readonly content: Buffer }
  | { readonly kind: 'unsupported'; readonly number: number };

export type AgentResponse =
  | { readonly kind: 'failure' }
  | { readonly kind: 'success' }
  | { readonly kind: 'identities'; readonly identities: readonly ListedIdentity[] }
  | { readonly kind: 'signature'; readonly signature: Buffer }
  | { readonly kind: 'extension-failure' };

/** Section 3.6.1 of the draft: which hash an RSA key signs with. */
export const FLAG_RSA_SHA2_256 = 2;
export const FLAG_RSA_SHA2_512 = 4;

/** OpenSSH's `AGENT_MAX_LEN`, the message in a frame without the length before it. */
export const MAX_FRAME_BYTES = MAX_BLOB_BYTES;
const MAX_IDENTITIES = 2048;

const FAILURE = 5;
const SUCCESS = 6;
const REQUEST_IDENTITIES = 11;
const IDENTITIES = 12;
const SIGN = 13;
const SIGNATURE = 14;
const EXTENSION = 27;
const EXTENSION_FAILURE = 28;

/** The message as a whole frame. @throws SshError `wire-unencodable` beyond 256 KiB. */
export function encodeAgentRequest(request: Exclude<AgentRequest, { kind: 'unsupported' }>): Buffer {
  switch (request.kind) {
    case 'request-identities':
      return frame(new Writer().uint8(REQUEST_IDENTITIES));
    case 'sign':
      return frame(new Writer().uint8(SIGN).string(request.blob).string(request.data).uint32(request.flags));
    case 'extension':
      return frame(new Writer().uint8(EXTENSION).string(request.name).raw(request.content));
  }
}

/** Reads what a frame holds. @throws SshError `wire-…` */
export function decodeAgentRequest(message: Buffer): AgentRequest {
  const reader = new Reader(message, 'agent request');
  const number = reader.uint8('number');
  switch (number) {
    case REQUEST_IDENTITIES:
      reader.end();
      return { kind: 'request-identities' };
    case SIGN: {
      const request = {
        kind: 'sign',
        blob: reader.string('key'),
        data: reader.string('data'),
        flags: reader.uint32('flags'),
      } as const;
      reader.end();
      return request;
    }
    case EXTENSION:
      return { kind: 'extension', name: reader.text('extension', 256), content: reader.rest() };
    default:
      return { kind: 'unsupported', number };
  }
}

/** The message as a whole frame. @throws SshError `wire-unencodable` beyond 256 KiB. */
export function encodeAgentResponse(response: AgentResponse): Buffer {
  switch (response.kind) {
    case 'failure':
      return frame(new Writer().uint8(FAILURE));
    case 'success':
      return frame(new Writer().uint8(SUCCESS));
    case 'extension-failure':
      return frame(new Writer().uint8(EXTENSION_FAILURE));
    case 'signature':
      return frame(new Writer().uint8(SIGNATURE).string(response.signature));
    case 'identities': {
      const writer = new Writer().uint8(IDENTITIES).uint32(response.identities.length);
      for (const { blob, comment } of response.identities) {
        writer.string(blob).string(comment);
      }
      return frame(writer);
    }
  }
}

/** Reads what a frame holds. @throws SshError `wire-…`, `agent-malformed` */
export function decodeAgentResponse(message: Buffer): AgentResponse {
  const reader = new Reader(message, 'agent response');
  const response = readResponse(reader);
  reader.end();
  return response;
}

/** Puts the chunks of a stream together to messages, and keeps at most one unfinished frame. */
export class FrameCollector {
  #pending = Buffer.alloc(0);

  /** Whether bytes of an unfinished frame are waiting. */
  get isPending(): boolean {
    return this.#pending.length > 0;
  }

  /** The messages that this chunk completes. @throws SshError `agent-malformed` for a frame that is empty or beyond 256 KiB. */
  push(chunk: Buffer): Buffer[] {
    const messages: Buffer[] = [];
    let bytes = Buffer.concat([this.#pending, chunk]);
    while (bytes.length >= 4) {
      const length = bytes.readUInt32BE(0);
      if (length === 0 || length > MAX_FRAME_BYTES) {
        throw new SshError('agent-malformed', `agent: a frame of ${length} bytes is empty or too long`);
      }
      if (bytes.length < 4 + length) {
        break;
      }
      messages.push(bytes.subarray(4, 4 + length));
      bytes = bytes.subarray(4 + length);
    }
    this.#pending = bytes;
    return messages;
  }
}

function readResponse(reader: Reader): AgentResponse {
  const number = reader.uint8('number');
  switch (number) {
    case FAILURE:
      return { kind: 'failure' };
    case SUCCESS:
      return { kind: 'success' };
    case EXTENSION_FAILURE:
      return { kind: 'extension-failure' };
    case SIGNATURE:
      return { kind: 'signature', signature: reader.string('signature') };
    case IDENTITIES: {
      const count = reader.uint32('count');
      if (count > MAX_IDENTITIES) {
        throw new SshError(
          'agent-malformed',
          `agent response: it lists more than ${MAX_IDENTITIES} identities`,
        );
      }
      const identities = Array.from({ length: count }, () => ({
        blob: reader.string('key'),
        comment: reader.text('comment'),
      }));
      return { kind: 'identities', identities };
    }
    default:
      throw new SshError('agent-malformed', `agent response: the number ${number} is unknown`);
  }
}

function frame(writer: Writer): Buffer {
  const message = writer.toBuffer();
  if (message.length > MAX_FRAME_BYTES) {
    throw new SshError('wire-unencodable', `agent: the message is longer than ${MAX_FRAME_BYTES} bytes`);
  }
  return new Writer().string(message).toBuffer();
}
