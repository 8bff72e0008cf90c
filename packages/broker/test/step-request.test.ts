/** What the CA is asked for and what the gate is told are the same: the gate computes the digest that the CA computed. */

import { randomBytes } from 'node:crypto';
import { argumentsDigest, decode32 } from '@beacon/protocol/arguments-digest';
import { formatGateRequest, invocationDigest, parseGateRequest } from '@beacon/protocol/gate-request';
import { describe, expect, it } from '@jest/globals';
import { certifiedPieces, gateRequest, lifetimeSeconds, stepRequest } from '../src/step-request.ts';

const step = {
  command: 'configure',
  preparation: 'none',
  params: { name: 'r-1', labels: 'ä,"b"' },
  secretNames: ['token'],
  undo: { command: 'remove', params: { name: 'r-1' } },
  timeoutSeconds: 100,
} as const;

describe('a request for a step', () => {
  const request = stepRequest(step, new Map([['token', 'geheim']]), randomBytes);

  it('names to the CA a commitment where the gate gets the value, under the same digest', () => {
    const { command, params, salt, commitments } = request.forCa;
    const digest = argumentsDigest({
      command,
      params,
      salt: decode32(salt) ?? new Uint8Array(),
      commitments: { token: decode32(commitments['token'] ?? '') ?? new Uint8Array() },
    });
    const read = parseGateRequest(formatGateRequest(gateRequest(1, request)));
    if (read.kind !== 'command') throw new TypeError('no command');
    expect(invocationDigest(read.asked)).toBe(digest);
    expect(read.undo?.command).toBe('remove');
    expect(JSON.stringify(request.forCa)).not.toContain('geheim');
    expect(request.forCa.undo?.commitments).toEqual({});
  });

  it('has salts that nothing else has', () => {
    const again = stepRequest(step, new Map([['token', 'geheim']]), randomBytes);
    const salts = [request, again].flatMap(({ forCa }) => [
      forCa.salt,
      forCa.undo?.salt,
      forCa.commitments['token'],
    ]);
    expect(new Set(salts).size).toBe(6);
  });
});

describe('certificates of a run', () => {
  it('are asked for piece by piece, cut before each step that needs something of GitHub', () => {
    const register = { ...step, preparation: 'register' } as const;
    expect(certifiedPieces([step, step, register, step]).map(({ length }) => length)).toEqual([2, 2]);
    expect(certifiedPieces([register, register]).map(({ length }) => length)).toEqual([1, 1]);
  });

  it('live as long as their steps may take, and a minute; an hour at most', () => {
    expect(lifetimeSeconds([step, step])).toBe(260);
    expect(lifetimeSeconds([{ timeoutSeconds: 4_000 }])).toBe(3_600);
  });
});
