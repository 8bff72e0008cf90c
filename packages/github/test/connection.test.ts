import { type FaultEffect, type Standin, startStandin } from '@beacon/github-standin';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Connection, createConnection } from '../src/connection.ts';
import { failureOf } from './world.ts';

let standin: Standin;
let connection: Connection;
let token: string;
beforeEach(async () => {
  standin = await startStandin({
    configuration: {
      apps: [{ client_id: 'Iv1', client_secret: 'standin-secret', callback_urls: ['http://127.0.0.1:1/cb'] }],
      persons: [{ id: 1, login: 'mona' }],
      organizations: [{ id: 42, login: 'acme', members: ['mona'], owners: ['mona'], apps: ['Iv1'] }],
    },
  });
  token = standin.state.mintToken({ clientId: 'Iv1', person: 1 }).token;
  connection = createConnection({
    apiUrl: standin.url,
    timeoutMs: 20_000,
    retryWaitMs: 5,
    pace: 'none',
    fetch: globalThis.fetch,
    now: () => new Date(),
  });
});
afterEach(() => standin.close());

const PATH = '/orgs/acme/actions/runners/generate-jitconfig';
const make = (options?: { repeatable?: boolean }) =>
  connection.converse({ authorization: `bearer ${token}` }, ({ ask }) =>
    ask(`POST ${PATH}`, { name: 'one', runner_group_id: 1, labels: ['beacon'] }, options),
  );
const asked = () => standin.state.requests.filter((line) => line === `POST ${PATH}`).length;

describe('a POST', () => {
  it.each([
    ['a lost reply', { kind: 'lost-reply' }],
    ['a reset', { kind: 'reset' }],
    ['503', { kind: 'answer', status: 503, body: {} }],
    ['truncated JSON', { kind: 'truncated-json' }],
  ] satisfies [string, FaultEffect][])(
    'is not sent again after %s, since it may have been done',
    async (_, effect) => {
      standin.state.fault({ path: PATH, effect, times: 1 });
      expect((await failureOf(make())).code).toBe('unavailable');
      expect(asked()).toBe(1);
    },
  );

  it('is sent again where the caller says that it may be: here the second finds the first', async () => {
    standin.state.fault({ path: PATH, effect: { kind: 'lost-reply' }, times: 1 });
    expect((await failureOf(make({ repeatable: true }))).answeredStatus).toBe(409);
    expect(asked()).toBe(2);
  });
});
