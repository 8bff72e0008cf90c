import { formatTrustRoot } from '@beacon/protocol/trust';
import {
  followHandovers,
  formatHandovers,
  type Handover,
  handoverMessage,
  type IsSignedBy,
  parseHandovers,
} from '@beacon/protocol/trust-handover';
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

  const pinned = `ssh-ed25519 ${Buffer.alloc(51, 9).toString('base64')}`;
  const root = (version: number) =>
    formatTrustRoot({
      version,
      issued: new Date(0),
      expires: new Date(1),
      hosts: '.*',
      logins: ['beacon'],
      userCa: [key],
      hostCa: [],
      statusKey: key,
    });
  const handover = (rootKey: string, version: number) => ({
    rootKey,
    document: root(version),
    signature: rootKey,
    handover: 'the key before',
  });
  const other = `ssh-ed25519 ${Buffer.alloc(51, 8).toString('base64')}`;
  const follow = (handovers: readonly Handover[], isSignedBy: IsSignedBy = () => true) =>
    followHandovers(pinned, handovers, isSignedBy);

  it('leads from the pinned key to the key of now', () => {
    expect(follow([])).toEqual({ keys: [pinned], key: pinned, since: 0 });
    const two = [handover(key, 3), handover(other, 5)];
    expect(follow(two)).toEqual({ keys: [pinned, key, other], key: other, since: 5 });
    expect(parseHandovers(Buffer.from(formatHandovers(two)))).toEqual(two);
  });

  it('B8: holds only when the new key and the one before have signed', () => {
    for (const missing of [pinned, key])
      expect(refusalOf(() => follow([handover(key, 3)], (line) => line !== missing))).toBe(
        'trust-root-malformed',
      );
  });

  it.each([
    ['B8: of a version that does not rise', [handover(key, 3), handover(other, 3)]],
    ['B6: to the key that hands over', [handover(pinned, 3)]],
    ['B6: back to a key before', [handover(key, 3), handover(pinned, 4)]],
  ])('%s: is refused', (_name, handovers) => {
    expect(refusalOf(() => follow(handovers))).toBe('trust-root-malformed');
  });

  it('B7, B12: its file is refused when it is cut at any byte, or spelled otherwise', () => {
    const text = formatHandovers([handover(key, 3)]);
    for (let length = 0; length < text.length; length++)
      expect(refusalOf(() => parseHandovers(Buffer.from(text.slice(0, length))))).toMatch(
        /^(trust-root-malformed|json-)/,
      );
    expect(refusalOf(() => parseHandovers(Buffer.from(` ${text}`)))).toBe('trust-root-malformed');
  });
});
