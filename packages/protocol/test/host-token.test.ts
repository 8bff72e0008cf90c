import { createHash } from 'node:crypto';
import { digestTokenSecret, formatHostToken, parseHostToken } from '@beacon/protocol/host-token';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { refusalOf } from './refusal.ts';

const fingerprintOf = (bytes: Uint8Array) =>
  `SHA256:${Buffer.from(bytes).toString('base64').replace('=', '')}`;
const token = {
  secret: Buffer.alloc(32, 7).toString('base64url'),
  rootKey: fingerprintOf(createHash('sha256').update('key').digest()),
};
const text = formatHostToken(token);

describe('a host token', () => {
  it('carries a secret and the fingerprint of the root key, in one line of one spelling', () => {
    expect(text).toMatch(/^beacon-host-1\.[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{43}$/);
    expect(parseHostToken(text)).toEqual(token);
    const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(bytes, bytes, (secret, key) => {
        const made = { secret: Buffer.from(secret).toString('base64url'), rootKey: fingerprintOf(key) };
        expect(parseHostToken(formatHostToken(made))).toEqual(made);
      }),
    );
  });

  it('E4: is refused at every other length, and with each bit changed is refused or another token', () => {
    for (let length = 0; length < text.length; length++)
      expect(refusalOf(() => parseHostToken(text.slice(0, length)))).toBe('host-token-malformed');
    for (const more of [`${text}.`, `${text}\n`, ` ${text}`, `${text}A`])
      expect(refusalOf(() => parseHostToken(more))).toBe('host-token-malformed');
    for (let bit = 0; bit < text.length * 8; bit++) {
      const bytes = Buffer.from(text);
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const changed = bytes.toString('latin1');
      const refused = refusalOf(() => parseHostToken(changed));
      if (refused === 'accepted') expect(parseHostToken(changed)).not.toEqual(token);
      else expect(refused).toBe('host-token-malformed');
    }
  });

  it('is not made of anything else than 32 bytes and a SHA-256 fingerprint', () => {
    for (const wrong of [
      { ...token, secret: 'short' },
      { ...token, rootKey: 'MD5:aa' },
      { ...token, rootKey: `${token.rootKey.slice(0, -1)}B` },
    ])
      expect(refusalOf(() => formatHostToken(wrong))).toBe('host-token-malformed');
  });

  it('E1: is known to the CA by a digest that does not hold its secret', () => {
    expect(digestTokenSecret(token.secret)).toBe(
      createHash('sha256').update('beacon-host-token-1\0').update(Buffer.alloc(32, 7)).digest('base64url'),
    );
    expect(refusalOf(() => digestTokenSecret('x'))).toBe('host-token-malformed');
  });
});
