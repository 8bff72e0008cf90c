import { argumentsDigest, secretCommitment } from '@beacon/protocol/arguments-digest';
import {
  formatGateRequest,
  type GateRequest,
  invocationDigest,
  parseGateRequest,
} from '@beacon/protocol/gate-request';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { refusalOf } from './refusal.ts';

const salt = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes));
const name = fc.stringMatching(/^[a-z][a-z0-9_]{0,9}$/);
const text = fc.string({ unit: 'grapheme', maxLength: 20 });
const invocation = fc.record({
  command: fc.stringMatching(/^[a-z][a-z0-9_-]{0,9}([.][a-z0-9_-]{1,9}){0,2}$/),
  params: fc
    .dictionary(name, text, { noNullPrototype: true, maxKeys: 3 })
    .map((params) => JSON.stringify(params)),
  salt,
  secrets: fc
    .dictionary(name, fc.record({ salt, value: text }), { noNullPrototype: true, maxKeys: 2 })
    .map((secrets) => new Map(Object.entries(secrets))),
});
const id = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const request: fc.Arbitrary<GateRequest> = fc.oneof(
  fc.record({ kind: fc.constant('command' as const), id, asked: invocation }),
  fc.record({ kind: fc.constant('command' as const), id, asked: invocation, undo: invocation }),
  fc.record({
    kind: fc.constant('certificate' as const),
    id,
    blob: fc.uint8Array({ minLength: 1 }).map((b) => Buffer.from(b)),
  }),
  fc.record({ kind: fc.constantFrom('cancel' as const, 'end' as const), id }),
);

const command = { v: 1, id: 1, command: 'a', params: '{}', salt: Buffer.alloc(32).toString('base64url') };

describe('a request to a gate', () => {
  it('reads back as it was written, whatever it asks', () => {
    fc.assert(
      fc.property(request, (any) => {
        expect(parseGateRequest(formatGateRequest(any))).toEqual(any);
      }),
    );
  });

  it('has the digest that the CA computed from the commitments alone', () => {
    fc.assert(
      fc.property(invocation, (asked) => {
        const params = JSON.parse(asked.params) as object;
        fc.pre([...asked.secrets.keys()].every((secret) => !Object.hasOwn(params, secret)));
        const commitments = Object.fromEntries(
          [...asked.secrets].map(([secret, given]) => [
            secret,
            secretCommitment(given.salt, Buffer.from(given.value)),
          ]),
        );
        expect(invocationDigest(asked)).toBe(
          argumentsDigest({ command: asked.command, salt: asked.salt, params: asked.params, commitments }),
        );
      }),
    );
  });

  it.each([
    ['another version', { ...command, v: 2 }],
    ['no id', { ...command, id: undefined }],
    ['id 0', { ...command, id: 0 }],
    ['an unknown key', { ...command, digest: 'x' }],
    ['a command that is no name', { ...command, command: 'sh -c' }],
    ['params that are an object', { ...command, params: {} }],
    ['a short salt', { ...command, salt: 'AAAA' }],
    ['a padded salt', { ...command, salt: `${command.salt}=` }],
    ['secrets that are a list', { ...command, secrets: [] }],
    ['a secret without salt', { ...command, secrets: { a: { value: 'x' } } }],
    [
      'an undo of an undo',
      { ...command, undo: { command: 'a', params: '{}', salt: command.salt, undo: {} } },
    ],
    ['a certificate and a command', { ...command, certificate: 'AAAA' }],
    ['a certificate that is no base64', { v: 1, id: 1, certificate: 'AAA' }],
    ['cancel that is not true', { v: 1, id: 1, cancel: 1 }],
    ['cancel and end', { v: 1, id: 1, cancel: true, end: true }],
    ['a list', [command]],
    ['a text', 'end'],
  ])('with %s is refused', (_, value) => {
    expect(refusalOf(() => parseGateRequest(JSON.stringify(value)))).toBe('gate-line-malformed');
  });

  it('with params that are not a flat object of texts is refused', () => {
    for (const params of ['[]', '{"a":1}', '{"A":"x"}', 'null']) {
      expect(refusalOf(() => parseGateRequest(JSON.stringify({ ...command, params })))).toBe(
        'params-malformed',
      );
    }
    expect(
      refusalOf(() => parseGateRequest(JSON.stringify({ ...command, params: '{"a":"x","a":"y"}' }))),
    ).toBe('json-doubled-key');
  });

  it('quotes no secret when it is refused', () => {
    const secret = 'canary-1234';
    const lines = [
      { ...command, secrets: { a: { salt: command.salt, value: secret, more: 1 } } },
      { ...command, secrets: { a: { salt: 'x', value: secret } } },
    ].map((line) => JSON.stringify(line));
    for (const line of lines) {
      expect(() => parseGateRequest(line)).toThrow(
        expect.objectContaining({ message: expect.not.stringContaining(secret) }),
      );
    }
  });

  it('longer than 64 KiB is refused', () => {
    expect(refusalOf(() => parseGateRequest(' '.repeat(65_537)))).toBe('gate-line-malformed');
  });
});
