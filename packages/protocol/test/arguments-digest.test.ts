import { createHash } from 'node:crypto';
import {
  argumentsDigest,
  type CommandArguments,
  decode32,
  parseParams,
  secretCommitment,
} from '@beacon/protocol/arguments-digest';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { refusalOf } from './refusal.ts';

/** Bytes that count up from `first`. */
const counting = (first: number) => Buffer.from(Array.from({ length: 32 }, (_, i) => first + i));

const input: CommandArguments = {
  command: 'runner.configure',
  salt: counting(0),
  params: '{"scope":"octo/hello","name":"bücher-1"}',
  commitments: {
    token_2: secretCommitment(counting(64), Buffer.alloc(0)),
    token: secretCommitment(counting(32), Buffer.from('hunter2')),
  },
};

/** The bytes under the digest of `input`, made by hand: a tag, then a big-endian length before every part. */
const inputBytes =
  `${hex('beacon-arguments-1')}00` +
  `00000010${hex('runner.configure')}` +
  '00000020000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f' +
  `00000029${hex('{"scope":"octo/hello","name":"b')}c3bc${hex('cher-1"}')}` +
  `00000005${hex('token')}` +
  '000000205aeb256af7602b23ce9089dddba18c89d1ee35965570fb8e85088cd9cf803f60' +
  `00000007${hex('token_2')}` +
  '000000208c8fbcf7d24ce00688fad14fd7c6defcc107277a43efc5caee7b459fa6fa31f8';

function hex(ascii: string): string {
  return Buffer.from(ascii, 'ascii').toString('hex');
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

describe('the arguments digest', () => {
  it('L11: is SHA-256 over bytes that can be written by hand', () => {
    expect(argumentsDigest(input)).toBe(sha256(Buffer.from(inputBytes, 'hex')).toString('base64url'));
  });

  it('L11: keeps its known answers', () => {
    const digest = (of: CommandArguments) => Buffer.from(argumentsDigest(of), 'base64url').toString('hex');
    expect(digest(input)).toBe('53476cd9aa49340b143b60ad3cb9663ccb27f40927ac8116b4a87f7b5c009669');
    expect(
      digest({ command: 'runner.preflight', salt: Buffer.alloc(32), params: '{}', commitments: {} }),
    ).toBe('fa9f65218c63d328bf125d312e67d30de19ddc49268e283d6ae537af019ff79a');
  });

  it('is base64url of 32 bytes without padding', () => {
    expect(argumentsDigest(input)).toBe('U0ds2apJNAsUO2CtPLlmPMsn9AknrIEWtKh_e1wAlmk');
  });

  it('does not depend on the order in which commitments were put in', () => {
    const { token, token_2 } = input.commitments;
    if (token === undefined || token_2 === undefined) throw new Error('the input has two commitments');
    expect(argumentsDigest({ ...input, commitments: { token, token_2 } })).toBe(argumentsDigest(input));
  });

  it('sorts commitments by the bytes of their names', () => {
    const commitments = {
      b: counting(1),
      a_b: counting(2),
      a: counting(3),
      ab: counting(4),
      a1: counting(5),
    };
    const part = (bytes: Uint8Array) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return [length, bytes];
    };
    const bytes = Buffer.concat([
      Buffer.from('beacon-arguments-1\0'),
      ...[Buffer.from('c'), counting(0), Buffer.from('{}')].flatMap(part),
      ...[3, 5, 2, 4, 1].flatMap((first, i) => [
        ...part(Buffer.from(['a', 'a1', 'a_b', 'ab', 'b'][i] ?? '')),
        ...part(counting(first)),
      ]),
    ]);
    expect(argumentsDigest({ command: 'c', salt: counting(0), params: '{}', commitments })).toBe(
      sha256(bytes).toString('base64url'),
    );
  });

  it('L11: lets no byte move from one part into the next', () => {
    const salt = counting(0);
    const other = counting(32);
    const inputs: CommandArguments[] = [
      { command: 'run', salt, params: '{}', commitments: {} },
      { command: 'runa', salt, params: '{}', commitments: {} },
      { command: 'run', salt, params: '{} ', commitments: {} },
      { command: 'run', salt, params: ' {}', commitments: {} },
      { command: 'run', salt: other, params: '{}', commitments: {} },
      { command: 'run', salt, params: '{"a":""}', commitments: {} },
      { command: 'run', salt, params: '{"a":"b"}', commitments: {} },
      { command: 'run', salt, params: '{"a": "b"}', commitments: {} },
      { command: 'run', salt, params: '{"a":"\\u0062"}', commitments: {} },
      { command: 'run', salt, params: '{"ab":""}', commitments: {} },
      { command: 'run', salt, params: '{"a":"b","c":"d"}', commitments: {} },
      { command: 'run', salt, params: '{"c":"d","a":"b"}', commitments: {} },
      { command: 'run', salt, params: '{"a":"é"}', commitments: {} },
      { command: 'run', salt, params: '{"a":"e\u0301"}', commitments: {} },
      { command: 'run', salt, params: '{}', commitments: { a: other } },
      { command: 'run', salt, params: '{}', commitments: { b: other } },
      { command: 'run', salt, params: '{}', commitments: { a: salt } },
      { command: 'run', salt, params: '{}', commitments: { a: other, b: salt } },
      { command: 'run', salt, params: '{}', commitments: { a: salt, b: other } },
      { command: 'run', salt, params: '{}', commitments: { ab: other } },
    ];
    expect(new Set(inputs.map(argumentsDigest)).size).toBe(inputs.length);
  });

  it('L11: differs for any two inputs that differ', () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9_]{0,3}$/);
    const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32, max: 1 });
    const any = fc
      .record({
        command: fc.stringMatching(/^[a-z]{1,3}$/),
        salt: bytes32,
        values: fc.dictionary(name, fc.string({ maxLength: 3 }), { maxKeys: 2 }),
        commitments: fc.dictionary(name, bytes32, { maxKeys: 2 }),
      })
      .filter(({ values, commitments }) => !Object.keys(values).some((key) => key in commitments))
      .map(({ values, ...rest }) => ({ ...rest, params: JSON.stringify(values) }));
    const text = (of: CommandArguments) =>
      JSON.stringify([
        of.command,
        [...of.salt],
        of.params,
        Object.entries(of.commitments)
          .map(([key, value]) => [key, ...value])
          .sort(),
      ]);
    fc.assert(
      fc.property(any, any, (a, b) => {
        expect(argumentsDigest(a) === argumentsDigest(b)).toBe(text(a) === text(b));
      }),
    );
  });

  for (const length of [0, 31, 33, 64]) {
    it(`refuses a salt of ${length} bytes`, () => {
      expect(refusalOf(() => argumentsDigest({ ...input, salt: Buffer.alloc(length) }))).toBe('digest-input');
      expect(refusalOf(() => secretCommitment(Buffer.alloc(length), Buffer.from('x')))).toBe('digest-input');
    });
    it(`refuses a commitment of ${length} bytes`, () => {
      expect(
        refusalOf(() => argumentsDigest({ ...input, commitments: { token: Buffer.alloc(length) } })),
      ).toBe('digest-input');
    });
  }

  it('refuses a command or a commitment whose name is none', () => {
    for (const command of ['', 'Runner', 'runner.', 'runner\0', '../runner']) {
      expect(refusalOf(() => argumentsDigest({ ...input, command }))).toBe('digest-input');
    }
    for (const name of ['', 'Token', 'a-b', 'tökén', '0', 'token\0']) {
      const commitments = { [name]: counting(0) };
      expect(refusalOf(() => argumentsDigest({ ...input, commitments }))).toBe('digest-input');
    }
  });

  it('refuses a parameter that is both open and secret', () => {
    const commitments = { scope: counting(0) };
    expect(refusalOf(() => argumentsDigest({ ...input, commitments }))).toBe('digest-input');
  });

  it('refuses params that are not strict JSON', () => {
    expect(refusalOf(() => argumentsDigest({ ...input, params: '{"a":"1","a":"2"}' }))).toBe(
      'json-doubled-key',
    );
    expect(refusalOf(() => argumentsDigest({ ...input, params: '{"a":"\ud800"}' }))).toBe('json-surrogate');
    expect(refusalOf(() => argumentsDigest({ ...input, params: '' }))).toBe('json-syntax');
    expect(refusalOf(() => argumentsDigest({ ...input, params: '[]' }))).toBe('params-malformed');
  });
});

describe('the commitment to a secret', () => {
  it('L11: is SHA-256 over the tag, its own salt and the value', () => {
    const bytes = Buffer.concat([Buffer.from('beacon-secret-1\0'), counting(32), Buffer.from('hunter2')]);
    expect(secretCommitment(counting(32), Buffer.from('hunter2'))).toEqual(sha256(bytes));
    expect(secretCommitment(counting(32), Buffer.from('hunter2')).toString('hex')).toBe(
      '5aeb256af7602b23ce9089dddba18c89d1ee35965570fb8e85088cd9cf803f60',
    );
  });
});

describe('params', () => {
  it('are one object of strings', () => {
    expect(parseParams('{}')).toEqual({});
    expect(parseParams(' {"scope" : "octo/hello", "constructor":""} ')).toEqual({
      scope: 'octo/hello',
      constructor: '',
    });
  });

  for (const text of [
    'null',
    '[]',
    '"a"',
    '1',
    '{"a":1}',
    '{"a":null}',
    '{"a":true}',
    '{"a":["b"]}',
    '{"a":{}}',
    '{"A":"b"}',
    '{"":"b"}',
    '{"a-b":"c"}',
    '{"é":"c"}',
    `{"${'a'.repeat(33)}":"c"}`,
  ]) {
    it(`refuse ${text}`, () => {
      expect(refusalOf(() => parseParams(text))).toBe('params-malformed');
    });
  }

  it('refuse a key that stands twice, also in another spelling', () => {
    expect(refusalOf(() => parseParams('{"a":"1","a":"1"}'))).toBe('json-doubled-key');
    expect(refusalOf(() => parseParams('{"a":"1","\\u0061":"2"}'))).toBe('json-doubled-key');
    expect(refusalOf(() => parseParams('{"__proto__":"1"}'))).toBe('json-syntax');
  });

  it('have at most 8192 bytes, counted as UTF-8', () => {
    const params = (value: string) => `{"a":"${value}"}`;
    expect(refusalOf(() => parseParams(params('x'.repeat(8192 - 8))))).toBe('accepted');
    expect(refusalOf(() => parseParams(params('x'.repeat(8192 - 7))))).toBe('params-malformed');
    expect(refusalOf(() => parseParams(params('é'.repeat(4092))))).toBe('accepted');
    expect(refusalOf(() => parseParams(params('é'.repeat(4093))))).toBe('params-malformed');
  });
});

describe('32 bytes in base64url', () => {
  it('are read from the one spelling that writing them gives', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        expect(decode32(Buffer.from(bytes).toString('base64url'))).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it('are read from no other text', () => {
    const text = counting(224).toString('base64url');
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const spellings = [...alphabet].filter((last) => decode32(text.slice(0, 42) + last) !== undefined);
    expect(spellings).toHaveLength(16);
    for (const last of spellings)
      expect(decode32(text.slice(0, 42) + last)?.toString('base64url')).toBe(text.slice(0, 42) + last);
    for (const other of ['', `${text}=`, `${text}\n`, ` ${text.slice(1)}`, text.slice(1), `${text}A`])
      expect(decode32(other)).toBeUndefined();
    expect(decode32(Buffer.alloc(32, 0xff).toString('base64').slice(0, 43))).toBeUndefined();
  });
});
