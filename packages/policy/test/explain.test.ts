import { explain, type Missing } from '@beacon/policy';
import { describe, expect, test } from '@jest/globals';

const denied = (missing: Missing[]) =>
  explain({
    allowed: false,
    reason: { code: 'no-permit', text: 'No.' },
    missing,
    leftOut: [{ kind: 'team', count: 3 }],
    policies: [],
    version: '',
  });

describe('explaining a decision', () => {
  test('names the policies and the limits of a permission', () => {
    const limits = { maxLifetimeSeconds: 600, extensions: ['permit-pty' as const] };
    expect(explain({ allowed: true, policies: ['a', 'b'], limits, version: '' })).toBe(
      'Allowed (a, b).\nLimits: for at most 10m, with permit-pty.',
    );
    expect(
      explain({
        allowed: true,
        policies: ['a'],
        limits: { maxLifetimeSeconds: 0, extensions: [] },
        version: '',
      }),
    ).toBe('Allowed (a).');
  });

  test('says for every way out what to do', () => {
    const text = denied([
      { kind: 'lifetime', longest_seconds: 90 },
      { kind: 'login', login: 'deploy' },
      { kind: 'service', service: 'web' },
      { kind: 'sso', organization: 'github:7', name: 'acme' },
      { kind: 'sso', organization: 'github:7' },
      { kind: 'unknown', of: 'organization', id: 'github:7', why: 'not-installed' },
      { kind: 'unknown', of: 'team', id: 'github:8', why: 'refused' },
      { kind: 'unknown', of: 'team', id: 'github:11', why: 'sso' },
      { kind: 'team', id: 'github:9' },
      { kind: 'organization', id: 'github:10' },
    ]);
    const lines = text.split('\n');
    expect(lines).toHaveLength(13);
    expect(new Set(lines).size).toBe(13);
    for (const part of [
      '90s or less',
      'login deploy',
      'service web',
      'single sign-on of acme',
      'organisation github:7',
      'installed',
      'team github:8',
      'team github:9',
      'github:10',
      'single sign-on of the organisation of team github:11',
      '3 more',
    ]) {
      expect(text).toContain(part);
    }
  });
});
