import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Answer } from '../src/answer.ts';
import {
  readAuthorityKeys,
  readCertificateEntry,
  readDecision,
  readHost,
  readIssued,
  readPersonChanged,
  readPersonSession,
  readRegisteredHost,
  readRevocation,
  readWhoami,
} from '../src/ca-answers.ts';
import { ClientError } from '../src/index.ts';

const record = { seq: 1, hash: 'a'.repeat(64) };
const session = {
  id: '01jd8z0000abcdefghjkmnpqrs',
  person: 'github:1',
  name: 'octocat',
  client: 'beacon-cli',
  started_at: '2026-11-22T07:30:00.000Z',
  ends_at: '2026-11-22T15:30:00.000Z',
  current: true,
};
const host = {
  id: 'build-01',
  state: 'enabled',
  logins: ['deploy'],
  address: '192.0.2.1',
  port: 22,
  labels: { a: 'b' },
};
const key = { public_key: 'ssh-ed25519 AAAA', fingerprint: 'SHA256:x', state: 'active' };
const times = { valid_after: '2026-11-22T07:30:00.000Z', valid_before: '2026-11-22T07:45:00.000Z' };

const readers: [string, (answer: Answer) => unknown, object][] = [
  ['a host', readHost, host],
  ['a session', readPersonSession, session],
  [
    'who one is',
    readWhoami,
    {
      session,
      service: 'beacon-cli',
      memberships: {
        read_at: times.valid_after,
        organizations: [],
        teams: ['1'],
        unknown: [{ id: '7', why: 'sso' }],
      },
    },
  ],
  [
    'a decision',
    readDecision,
    {
      allowed: true,
      reason: { code: 'allowed', text: 'yes' },
      missing: [{ kind: 'team', id: '1' }],
      policies: ['a'],
      policy_version: 'v1',
      limits: { max_lifetime_seconds: 900, extensions: [] },
      record,
    },
  ],
  [
    'a certificate',
    readIssued,
    {
      certificate: 'x',
      serial: '18446744073709551615',
      grant: session.id,
      policies: [],
      host: { id: 'build-01', address: '192.0.2.1', port: 22, certificate_authorities: ['x'] },
      record,
    },
  ],
  [
    'an entry of the certificates',
    readCertificateEntry,
    {
      serial: '1',
      kind: 'user',
      person: 'github:1',
      host: 'build-01',
      login: null,
      grant: null,
      commands: [],
      ...times,
      revoked: false,
    },
  ],
  [
    'a registered host',
    readRegisteredHost,
    { host, certificate: 'x', serial: '1', valid_before: times.valid_before, record },
  ],
  ['a revocation', readRevocation, { revoked: ['1'], already: 0, sessions_ended: 0, record }],
  [
    'a changed person',
    readPersonChanged,
    { person: 'github:1', state: 'disabled', sessions_ended: 1, record },
  ],
  ['the CA keys', readAuthorityKeys, { user: [key], host: [key] }],
];

describe.each(readers)('reading %s', (_name, read, sample) => {
  const take = (bytes: Buffer) => read(Answer.read(bytes, 'the answer'));
  const text = JSON.stringify(sample);

  it('takes a whole answer, and one that says more than is used', () => {
    expect(() => take(Buffer.from(text))).not.toThrow();
    expect(() => take(Buffer.from(JSON.stringify({ ...sample, later: { more: 1 } })))).not.toThrow();
  });

  it('refuses every truncation', () => {
    for (let length = 0; length < text.length; length++) {
      expect(() => take(Buffer.from(text.slice(0, length)))).toThrow(
        expect.objectContaining({ code: 'answer-malformed' }),
      );
    }
  });

  it('takes or refuses every flipped bit, and throws nothing else', () => {
    for (let bit = 0; bit < text.length * 8; bit++) {
      const bytes = Buffer.from(text);
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expectTotal(() => take(bytes));
    }
  });

  it('takes or refuses whatever JSON there is, in every field', () => {
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(sample)), fc.jsonValue(), (name, value) => {
        expectTotal(() => take(Buffer.from(JSON.stringify({ ...sample, [name]: value }))));
      }),
      { numRuns: 300 },
    );
  });
});

function expectTotal(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof ClientError && error.code === 'answer-malformed')) throw error;
  }
}

describe('a serial', () => {
  it.each(['0', '01', '-1', '1.0', '18446744073709551616', '1e3', ' 1'])('is not %p', (serial) => {
    const answer = Answer.read(Buffer.from(JSON.stringify({ serial })), 'x');
    expect(() => answer.serial('serial')).toThrow(expect.objectContaining({ code: 'answer-malformed' }));
  });
});
