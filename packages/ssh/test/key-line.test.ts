import { describe, expect, test } from '@jest/globals';
import { joinKeyLine, splitKeyLine } from '../src/key-line.ts';
import { parsePublicKeyLine } from '../src/public-key.ts';
import { codeOf } from './raw-certificate.ts';
import { vectorText } from './vectors.ts';

describe('key lines', () => {
  test('are taken apart and put together again', () => {
    const line = vectorText('key_ed25519.pub');
    const { type, blob, comment } = splitKeyLine(line);
    expect({ type, comment }).toEqual({ type: 'ssh-ed25519', comment: 'ed25519' });
    expect(`${joinKeyLine(type, blob, comment)}\n`).toBe(line);
    expect(splitKeyLine(joinKeyLine(type, blob, '')).comment).toBe('');
    expect(splitKeyLine(joinKeyLine(type, blob, 'zwei Wörter')).comment).toBe('zwei Wörter');
  });

  test('are not written with a comment that would be two lines', async () => {
    for (const comment of ['a\nb', 'a\u2028b', 'x'.repeat(1025)]) {
      expect(await codeOf(() => joinKeyLine('ssh-ed25519', Buffer.alloc(4), comment))).toBe(
        'key-line-malformed',
      );
    }
  });

  test.each([
    ['two spaces', (type: string, base64: string) => `${type}  ${base64}`],
    ['a space before', (type: string, base64: string) => ` ${type} ${base64}`],
    ['options before the type', (type: string, base64: string) => `restrict ${type} ${base64}`],
    ['another type than the blob holds', (_: string, base64: string) => `ssh-rsa ${base64}`],
    ['two lines', (type: string, base64: string) => `${type} ${base64}\n\n`],
    ['a carriage return', (type: string, base64: string) => `${type} ${base64} comment\r\n`],
    ['an escape in the comment', (type: string, base64: string) => `${type} ${base64} \u001b[2J`],
    ['base64url', (type: string, base64: string) => `${type} ${base64.replace(/[A-Z]/, '-')}`],
    ['base64 with padding that is not needed', (type: string, base64: string) => `${type} ${base64}=`],
    ['nothing', () => ''],
  ])('refuses a line with %s', async (_, make) => {
    const [type = '', base64 = ''] = vectorText('key_ed25519.pub').split(' ');
    expect(await codeOf(() => parsePublicKeyLine(make(type, base64)))).toBe('key-line-malformed');
  });
});
