import { type Json, parseStrictJson, parseStrictJsonBytes } from '@beacon/protocol/strict-json';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { refusalOf } from './refusal.ts';

const nested = (depth: number, inside: string) => '['.repeat(depth) + inside + ']'.repeat(depth);
const nestedObjects = (depth: number) => `${'{"a":'.repeat(depth)}0${'}'.repeat(depth)}`;

const key = fc.string({ unit: 'grapheme', maxLength: 8 }).filter((text) => text !== '__proto__');
const { value: anyJson } = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger().map((n) => (Object.is(n, -0) ? 0 : n)),
    fc.string({ unit: 'grapheme' }),
    fc.string({ unit: 'binary' }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(key, tie('value'), { maxKeys: 4, noNullPrototype: true }),
  ),
}));

describe('the strict reader of JSON', () => {
  it('reads back everything that JSON.stringify makes of integers, texts, arrays and objects', () => {
    fc.assert(
      fc.property(anyJson, fc.constantFrom(undefined, 2, '\t', '\r\n '), (value, space) => {
        expect(parseStrictJson(JSON.stringify(value, null, space))).toStrictEqual(value);
        expect(parseStrictJsonBytes(Buffer.from(JSON.stringify(value, null, space)))).toStrictEqual(value);
      }),
    );
  });

  it('never accepts what JSON.parse refuses, and never reads it as another value', () => {
    const piece = fc.constantFrom(
      ...[
        '{',
        '}',
        '[',
        ']',
        ',',
        ':',
        '"',
        '\\',
        '\\u00',
        '\\ud83d',
        '\\ude00',
        '"a"',
        '"b":',
        '-',
        '0',
        '1',
      ],
      ...[
        '12',
        '.5',
        'e3',
        'true',
        'false',
        'null',
        'nul',
        ' ',
        '\n',
        '\u000b',
        '\u00a0',
        '\ufeff',
        '\ud800',
        'é',
      ],
    );
    const texts = fc.oneof(fc.string({ unit: piece, maxLength: 12 }), fc.json({ maxDepth: 3 }));
    fc.assert(
      fc.property(texts, (text) => {
        let value: Json = null;
        const code = refusalOf(() => {
          value = parseStrictJson(text);
        });
        if (code === 'accepted') expect(value).toStrictEqual(JSON.parse(text));
        else expect(code).toMatch(/^json-/);
      }),
      { numRuns: 2000 },
    );
  });

  it('gives nothing but a ProtocolError for a text that was cut or changed', () => {
    const change = fc.record({
      at: fc.nat(),
      insert: fc.string({ unit: 'binary', maxLength: 2 }),
      drop: fc.nat(3),
    });
    fc.assert(
      fc.property(anyJson, change, (value, { at, insert, drop }) => {
        const text = JSON.stringify(value);
        const place = at % (text.length + 1);
        refusalOf(() => parseStrictJson(text.slice(0, place)));
        refusalOf(() => parseStrictJson(text.slice(0, place) + insert + text.slice(place + drop)));
      }),
      { numRuns: 500 },
    );
  });

  it('gives nothing but a ProtocolError for bytes with any bit flipped, and for every truncation', () => {
    const bytes = Buffer.from(
      '{"v":1,"a":["é😀",-9007199254740991,true,null],"\\u0062":{"c":"\\ud83d\\ude00\\n"}}',
    );
    expect(refusalOf(() => parseStrictJsonBytes(bytes))).toBe('accepted');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      refusalOf(() => parseStrictJsonBytes(flipped));
    }
    for (let length = 0; length < bytes.length; length++)
      expect(refusalOf(() => parseStrictJsonBytes(bytes.subarray(0, length)))).toBe('json-syntax');
  });

  it('reads values with the white space of RFC 8259 around them', () => {
    expect(parseStrictJson(' \t\r\n{ "a" : [ 1 , 2 ] , "b" : { } , "c" : [ ] } \n')).toStrictEqual({
      a: [1, 2],
      b: {},
      c: [],
    });
  });

  it('reads escapes, and takes a pair of surrogates for one character', () => {
    expect(parseStrictJson('"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00\\u0000\\u2028"')).toBe(
      '"\\/\b\f\n\r\té😀\0\u2028',
    );
  });

  it('reads keys that every object inherits as keys like any other', () => {
    const value = parseStrictJson('{"constructor":1,"toString":2,"hasOwnProperty":3,"valueOf":4}');
    expect(Object.entries(value ?? {})).toEqual([
      ['constructor', 1],
      ['toString', 2],
      ['hasOwnProperty', 3],
      ['valueOf', 4],
    ]);
  });

  const refused: Record<string, [string, string][]> = {
    'json-doubled-key': [
      ['a doubled key', '{"a":1,"a":1}'],
      ['a doubled key with another between', '{"a":1,"b":2,"a":3}'],
      ['a doubled key in another spelling', '{"a":1,"\\u0061":1}'],
      ['a doubled empty key', '{"":1,"":1}'],
      ['a doubled number as a key', '{"1":1,"0":0,"1":1}'],
      ['a doubled key in an array', '[{"a":1},{"a":1,"a":1}]'],
      ['a doubled key ten levels down', `${nested(10, '{"b":{"a":1,"a":2}}')}`],
      ['a doubled key whose first value is null', '{"a":null,"a":1}'],
      ['a doubled inherited key', '{"toString":1,"toString":2}'],
    ],
    'json-surrogate': [
      ['an escaped high surrogate alone', '"\\ud83d"'],
      ['an escaped low surrogate alone', '"\\ude00"'],
      ['escaped surrogates in the wrong order', '"\\ude00\\ud83d"'],
      ['a high surrogate before a letter', '"\\ud83da"'],
      ['a raw high surrogate', '"\ud83d"'],
      ['a raw low surrogate', '"a\ude00b"'],
      ['a high surrogate in a key', '{"\\ud83d":1}'],
      ['a raw low surrogate in a key, deep inside', nested(5, '{"\ude00":1}')],
    ],
    'json-number': [
      ['minus zero', '-0'],
      ['minus zero in an array', '[-0]'],
      ['a leading zero after a minus', '-01'],
      ['1.0', '1.0'],
      ['0.5', '0.5'],
      ['-0.0', '-0.0'],
      ['1e3', '1e3'],
      ['1E+3', '1E+3'],
      ['1e-3', '1e-3'],
      ['0e0', '0e0'],
      ['1e999', '1e999'],
      ['2^53', '9007199254740992'],
      ['-2^53', '-9007199254740992'],
      ['2^53 + 1', '9007199254740993'],
      ['2^64', '18446744073709551616'],
      ['a thousand digits', '9'.repeat(1000)],
    ],
    'json-depth': [
      ['33 arrays around a value', nested(33, '0')],
      ['33 objects around a value', nestedObjects(33)],
      ['a hundred thousand open brackets', '['.repeat(100_000)],
      ['a hundred thousand open objects', '{"a":'.repeat(100_000)],
    ],
    'json-syntax': [
      ['nothing', ''],
      ['white space alone', ' \n'],
      ['a byte order mark', '\ufeff{}'],
      ['a byte order mark at the end', '{}\ufeff'],
      ['a byte order mark inside', '{\ufeff}'],
      ['a no-break space', '\u00a0{}'],
      ['a vertical tab', '\u000b{}'],
      ['a line separator between', '[1,\u20282]'],
      ['a second value', '{}{}'],
      ['a word after the value', '1 x'],
      ['a NUL after the value', '{}\0'],
      ['a trailing comma in an array', '[1,]'],
      ['a trailing comma in an object', '{"a":1,}'],
      ['a leading comma', '[,1]'],
      ['a comma alone', '{,}'],
      ['two commas', '[1,,2]'],
      ['a missing comma', '[1 2]'],
      ['a missing colon', '{"a" 1}'],
      ['a missing value', '{"a":}'],
      ['a key without quotes', '{a:1}'],
      ['a number for a key', '{1:1}'],
      ['single quotes', "{'a':1}"],
      ['a comment', '{}/* */'],
      ['a line comment', '// \n{}'],
      ['an open array', '[1'],
      ['an open object', '{"a":1'],
      ['an open string', '"a'],
      ['a string that ends in a backslash', '"a\\'],
      ['a bracket of the other kind', '[1}'],
      ['a close alone', ']'],
      ['__proto__', '{"__proto__":1}'],
      ['__proto__ in another spelling', '{"\\u005f_proto__":{"a":1}}'],
      ['__proto__ deep inside', nested(8, '{"__proto__":null}')],
      ['a leading zero', '01'],
      ['a plus', '+1'],
      ['a minus alone', '-'],
      ['a dot first', '.5'],
      ['a dot last', '1.'],
      ['an exponent without digits', '1e'],
      ['a hexadecimal number', '0x10'],
      ['a number with underscores', '1_000'],
      ['a bigint', '1n'],
      ['NaN', 'NaN'],
      ['Infinity', '-Infinity'],
      ['undefined', 'undefined'],
      ['True', 'True'],
      ['truth', 'truth'],
      ['nul', 'nul'],
      ['a full-width digit', '\uff11'],
      ['an unknown escape', '"\\x41"'],
      ['an escaped quote mark', '"\\\'"'],
      ['an escape of an inherited name', '"\\constructor"'],
      ['an upper-case U', '"\\U0041"'],
      ['three hexadecimal digits', '"\\u004"'],
      ['a sign in an escape', '"\\u+041"'],
      ['a space in an escape', '"\\u 041"'],
      ['an escape that is cut', '"\\u00'],
    ],
  };
  for (const [code, rows] of Object.entries(refused)) {
    for (const [what, text] of rows) {
      it(`refuses ${what} (${code})`, () => {
        expect(refusalOf(() => parseStrictJson(text))).toBe(code);
      });
    }
  }

  it('refuses every control character that stands raw in a string', () => {
    for (let unit = 0; unit < 0x20; unit++) {
      expect(refusalOf(() => parseStrictJson(`"a${String.fromCharCode(unit)}b"`))).toBe('json-syntax');
    }
    expect(parseStrictJson('"\u007f\u0080"')).toBe('\u007f\u0080');
  });

  it('reads the largest integers that are safe, and 32 levels', () => {
    expect(parseStrictJson('[9007199254740991,-9007199254740991,0,-1]')).toEqual([
      Number.MAX_SAFE_INTEGER,
      Number.MIN_SAFE_INTEGER,
      0,
      -1,
    ]);
    expect(refusalOf(() => parseStrictJson(nested(32, '0')))).toBe('accepted');
    expect(refusalOf(() => parseStrictJson(nestedObjects(32)))).toBe('accepted');
  });

  it('names the place of a refusal, and shows no more of a text than its beginning', () => {
    expect(() => parseStrictJson('{"a":1,"a":2}')).toThrow('at character 10: the key "a" stands twice');
    const long = `"${'k'.repeat(5000)}":0`;
    expect(() => parseStrictJson(`{${long},${long}}`)).toThrow(/^.{0,200}$/);
    expect(() => parseStrictJson('9'.repeat(5000))).toThrow(/^.{0,200}$/);
  });

  it('refuses bytes that are not UTF-8, or that open with a byte order mark', () => {
    for (const hex of [
      '22ff22',
      '22c3',
      '22c080 22',
      '22eda080 22',
      '22f4908080 22',
      'efbbbf7b7d',
      'fffe7b00',
      '227b',
    ]) {
      expect(refusalOf(() => parseStrictJsonBytes(Buffer.from(hex.replace(' ', ''), 'hex')))).toBe(
        'json-syntax',
      );
    }
  });
});

describe('a megabyte of hostile text', () => {
  const MEGABYTE = 1_000_000;
  const fill = (unit: string) => unit.repeat(Math.floor(MEGABYTE / unit.length));
  const keys = (name: (i: number) => string) =>
    `{${Array.from({ length: 70_000 }, (_, i) => `"${name(i)}":0`).join(',')}}`;
  const rows: [string, string][] = [
    ['one string', `"${fill('a')}"`],
    ['one string that is never closed', `"${fill('a')}`],
    ['one string of escapes', `"${fill('\\u0061')}"`],
    ['one string of escapes and letters in turn', `"${fill('a\\"')}"`],
    ['one string of backslashes that is never closed', `"${fill('\\\\')}`],
    ['one string of pairs, the last one half', `"${fill('\ud83d\ude00')}\ud83d"`],
    ['one number', fill('9')],
    ['one fraction', `0.${fill('9')}`],
    ['one exponent', `1e${fill('9')}`],
    ['white space', fill(' ')],
    ['white space, then a value, then white space', `${fill('\n')}0${fill('\t')}`],
    ['an array of integers', `[${fill('0,')}0]`],
    ['open brackets', fill('[')],
    ['commas', `[${fill(',')}`],
    ['an object of many keys', keys((i) => `key${i}`)],
    ['an object of many numbers as keys', keys((i) => String(i))],
    ['an object of many distant numbers as keys', keys((i) => String((i * 65_536) % 4_294_967_291))],
    ['an object of long keys, the last one doubled', `{${fill(`"${'k'.repeat(90)}":0,`)}"a":0}`],
  ];
  for (const [what, text] of rows) {
    it(`takes time in line with its length: ${what}`, () => {
      // Of the processor's time a fraction of a second where it is linear; what is quadratic takes minutes.
      const start = process.cpuUsage();
      refusalOf(() => parseStrictJson(text));
      expect(process.cpuUsage(start).user / 1_000_000).toBeLessThan(5);
    });
  }
});
