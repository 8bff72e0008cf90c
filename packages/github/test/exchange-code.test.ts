import type { FaultEffect } from '@beacon/github-standin';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { failureOf, makeWorld, type World } from './world.ts';

const PATH = '/login/oauth/access_token';
const asked = { code: 'no-code', redirectUri: 'https://ca.example/login/callback', codeVerifier: 'v' };
let world: World;
beforeEach(async () => {
  world = await makeWorld();
});
afterEach(() => world.standin.close());

const faults: [string, FaultEffect, string][] = [
  ['hangs', { kind: 'hang' }, 'unavailable'],
  ['hangs in the body', { kind: 'hang-in-body' }, 'unavailable'],
  ['cuts the JSON', { kind: 'truncated-json' }, 'unavailable'],
  ['answers with a page', { kind: 'garbage' }, 'unavailable'],
  ['resets the connection', { kind: 'reset' }, 'unavailable'],
  ['answers 502', { kind: 'answer', status: 502 }, 'unavailable'],
  ['answers without end', { kind: 'endless' }, 'malformed'],
  ['answers 429', { kind: 'too-many-requests', seconds: 60 }, 'rate-limited'],
  ['answers null', { kind: 'answer', status: 200, body: null }, 'malformed'],
  ['gives nothing', { kind: 'answer', status: 200, body: {} }, 'malformed'],
  ['gives no token', { kind: 'answer', status: 200, body: { access_token: 'a b' } }, 'malformed'],
];

describe('a code of the web flow', () => {
  it.each(faults)('O7, Q2: ends in an error and in time when GitHub %s', async (_what, effect, code) => {
    world.standin.state.fault({ path: PATH, effect });
    const isSlow = ['hang', 'hang-in-body'].includes(effect.kind);
    const github = isSlow ? world.connect({ timeoutMs: 300 }) : world.github;
    const failure = await failureOf(github.exchangeCode(asked));
    expect(failure.code).toBe(code);
    expect(JSON.stringify([failure.message, failure])).not.toContain(world.app.clientSecret);
  });

  it('is refused when GitHub does not know it, or not our app', async () => {
    expect((await failureOf(world.github.exchangeCode(asked))).code).toBe('refused');
    const other = world.connect({ clientSecret: () => 'wrong' });
    expect((await failureOf(other.exchangeCode(asked))).code).toBe('app-refused');
  });

  it('Q2: is asked no more after some failures, and the API is asked all the same', async () => {
    world.standin.state.fault({ path: PATH, effect: { kind: 'hang' } });
    const github = world.connect({ timeoutMs: 1_500, circuit: { failures: 2, openMs: 60_000 } });
    const code = async () => (await failureOf(github.exchangeCode(asked))).code;
    for (let i = 0; i < 2; i += 1) expect(await code()).toBe('unavailable');
    const before = world.standin.state.requests.length;
    for (let i = 0; i < 50; i += 1) expect(await code()).toBe('unavailable');
    expect(world.standin.state.requests.length).toBe(before);
    expect((await github.readIdentity(world.mint())).person).toMatch(/^github:/);
  });
});
