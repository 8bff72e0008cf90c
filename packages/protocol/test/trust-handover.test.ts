import { handoverMessage } from '@beacon/protocol/trust-handover';
import { describe, expect, it } from '@jest/globals';
import { refusalOf } from './refusal.ts';

const key = `ssh-ed25519 ${Buffer.alloc(51, 7).toString('base64')}`;

describe('a handover', () => {
  it('B8: covers the new key and the exact bytes of the root, which cannot be shifted into each other', () => {
    expect(handoverMessage(key, Buffer.from('{}\n')).toString()).toBe(`${key}\n{}\n`);
    expect(handoverMessage(key, Buffer.from('{}\n')).equals(handoverMessage(key, Buffer.from('{} \n')))).toBe(
      false,
    );
  });

  it('takes a key line without a comment and nothing else', () => {
    for (const line of ['', `${key} comment`, `${key}\n`, 'ssh-ed25519', ` ${key}`])
      expect(refusalOf(() => handoverMessage(line, Buffer.alloc(0)))).toBe('trust-root-malformed');
  });
});
