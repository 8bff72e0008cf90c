import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  type AgentRequest,
  type AgentResponse,
  decodeAgentRequest,
  decodeAgentResponse,
  encodeAgentRequest,
  encodeAgentResponse,
  FrameCollector,
  MAX_FRAME_BYTES,
} from '../src/agent-message.ts';
import { SshError } from '../src/error.ts';

const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof SshError) return error.code;
    throw error;
  }
  return 'none';
};
const body = (frame: Buffer): Buffer => frame.subarray(4);
const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((value) => !value.includes('\0'));
const request = fc.oneof(
  fc.constant({ kind: 'request-identities' } as const),
  fc.record({ kind: fc.constant('sign' as const), blob: bytes, data: bytes, flags: fc.nat(0xffff_ffff) }),
  fc.record({ kind: fc.constant('extension' as const), name: text, content: bytes }),
);
const response: fc.Arbitrary<AgentResponse> = fc.oneof(
  fc
    .constantFrom('failure' as const, 'success' as const, 'extension-failure' as const)
    .map((kind) => ({ kind })),
  fc.record({ kind: fc.constant('signature' as const), signature: bytes }),
  fc.record({
    kind: fc.constant('identities' as const),
    identities: fc.array(fc.record({ blob: bytes, comment: text }), { maxLength: 5 }),
  }),
);

describe('agent messages', () => {
  test('decode ∘ encode is the identity on requests', () => {
    fc.assert(
      fc.property(request, (value: Exclude<AgentRequest, { kind: 'unsupported' }>) => {
        expect(decodeAgentRequest(body(encodeAgentRequest(value)))).toEqual(value);
      }),
    );
  });

  test('decode ∘ encode is the identity on responses', () => {
    fc.assert(
      fc.property(response, (value) => {
        expect(decodeAgentResponse(body(encodeAgentResponse(value)))).toEqual(value);
      }),
    );
  });

  test('refuses each message cut at every length and with a byte too many', () => {
    const sign = body(
      encodeAgentRequest({ kind: 'sign', blob: Buffer.from('key'), data: Buffer.from('data'), flags: 4 }),
    );
    const identities = body(
      encodeAgentResponse({ kind: 'identities', identities: [{ blob: Buffer.from('key'), comment: 'ä' }] }),
    );
    for (let length = 0; length < sign.length; length++) {
      expect(codeOf(() => decodeAgentRequest(sign.subarray(0, length)))).toBe('wire-truncated');
    }
    for (let length = 0; length < identities.length; length++) {
      expect(codeOf(() => decodeAgentResponse(identities.subarray(0, length)))).toBe('wire-truncated');
    }
    expect(codeOf(() => decodeAgentRequest(Buffer.concat([sign, Buffer.alloc(1)])))).toBe('wire-trailing');
    expect(codeOf(() => decodeAgentResponse(Buffer.concat([identities, Buffer.alloc(1)])))).toBe(
      'wire-trailing',
    );
    expect(codeOf(() => decodeAgentResponse(Buffer.from([99])))).toBe('agent-malformed');
    expect(codeOf(() => decodeAgentResponse(Buffer.from([12, 0xff, 0xff, 0xff, 0xff])))).toBe(
      'agent-malformed',
    );
  });

  test('flipped bits and arbitrary bytes raise nothing but SshError', () => {
    const sign = body(
      encodeAgentRequest({ kind: 'sign', blob: Buffer.from('key'), data: Buffer.from('data'), flags: 4 }),
    );
    for (let bit = 0; bit < sign.length * 8; bit++) {
      const flipped = Buffer.from(sign);
      flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      codeOf(() => decodeAgentRequest(flipped));
    }
    fc.assert(
      fc.property(bytes, (value) => {
        codeOf(() => decodeAgentRequest(value));
        codeOf(() => decodeAgentResponse(value));
      }),
      { numRuns: 2000 },
    );
  });

  test('every other request is a number without content', () => {
    for (const number of [0, 1, 17, 18, 19, 20, 21, 22, 23, 25, 26, 255]) {
      expect(decodeAgentRequest(Buffer.from([number, 1, 2, 3]))).toEqual({ kind: 'unsupported', number });
    }
  });

  test('refuses to write a message beyond 256 KiB', () => {
    const data = Buffer.alloc(MAX_FRAME_BYTES);
    expect(codeOf(() => encodeAgentRequest({ kind: 'sign', blob: data, data, flags: 0 }))).toBe(
      'wire-unencodable',
    );
  });
});

describe('FrameCollector', () => {
  test('puts messages together however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(request, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 50 }),
        (values, size) => {
          const stream = Buffer.concat(values.map(encodeAgentRequest));
          const frames = new FrameCollector();
          const messages: Buffer[] = [];
          for (let at = 0; at < stream.length; at += size) {
            messages.push(...frames.push(stream.subarray(at, at + size)));
          }
          expect(messages.map(decodeAgentRequest)).toEqual(values);
          expect(frames.isPending).toBe(false);
        },
      ),
    );
  });

  test('refuses empty frames and lengths beyond 256 KiB before their content comes', () => {
    const push = (...start: number[]): string => codeOf(() => new FrameCollector().push(Buffer.from(start)));
    expect(push(0, 0, 0, 0)).toBe('agent-malformed');
    expect(push(0xff, 0xff, 0xff, 0xff)).toBe('agent-malformed');
    expect(push(0, 4, 0, 1)).toBe('agent-malformed');
    expect(push(0, 4, 0, 0)).toBe('none');
  });
});
