/** What the CA's word about a session is worth while it is waited for. */
import { type CaApi, ClientError } from '@beacon/client';
import { expect, it } from '@jest/globals';
import { requireStanding, type Standing } from '../src/ca-standing.ts';

const START = new Date('2030-01-01T00:00:00Z');
const after = (ms: number) => () => new Date(START.getTime() + ms);
const over = new ClientError('refused', 'unauthenticated', 'the session has ended');

/** A CA that says nothing until it is told to. */
function hanging() {
  const asked = Promise.withResolvers<never>();
  const api = { whoami: () => asked.promise } as Pick<CaApi, 'whoami'>;
  return { api, say: (error: Error) => asked.reject(error) };
}

it('Q2: lets nobody wait for a CA that hangs, while what it said last still counts', async () => {
  const standing: Standing = { confirmedAt: START };
  const { api } = hanging();
  for (const ms of [59_999, 60_000, 299_999])
    await expect(requireStanding(standing, api, after(ms), 1)).resolves.toBeUndefined();
});

it('W5: refuses who has logged out also where nobody waited for that answer', async () => {
  const standing: Standing = { confirmedAt: START };
  const { api, say } = hanging();
  await requireStanding(standing, api, after(60_000), 1);
  say(over);
  await new Promise((resolve) => setImmediate(resolve));
  await expect(requireStanding(standing, api, after(60_001), 1)).rejects.toMatchObject({
    code: 'session-ended',
  });
});

it('Q2: waits for its word when what it said last counts no more', async () => {
  const standing: Standing = { confirmedAt: START };
  const { api, say } = hanging();
  const asked = requireStanding(standing, api, after(300_000), 1);
  say(new ClientError('timed-out', 'unavailable', 'too late'));
  await expect(asked).rejects.toMatchObject({ code: 'ca-unavailable' });
});
