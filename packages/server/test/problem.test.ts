import { problemKinds } from '@beacon/protocol/problem';
import { expect, test } from '@jest/globals';
import { ServerError } from '../src/index.ts';
import { answerRefusal, refusalOf, statusOf } from '../src/problem.ts';

test('the eight kinds have their statuses', () => {
  expect(problemKinds.map((kind) => [kind, statusOf(kind)])).toEqual([
    ['invalid', 400],
    ['unauthenticated', 401],
    ['denied', 403],
    ['not-found', 404],
    ['conflict', 409],
    ['limited', 429],
    ['unavailable', 503],
    ['internal', 500],
  ]);
});

test('what an internal refusal says stays inside, whoever named it so', () => {
  const refusal = { kind: 'internal', code: 'sealing-key-lost', detail: '/etc/beacon/key is gone' } as const;
  expect(answerRefusal(refusal, '01ab').problem).toEqual({
    type: 'urn:beacon:problem:internal',
    title: 'Something went wrong here',
    status: 500,
    code: 'internal',
    detail: "The server's log has the cause under 01ab: tell the operator this id.",
    id: '01ab',
  });
});

test('an error of this package keeps its code and headers, one of nobody has none', () => {
  const unknown = () => undefined;
  const limited = new ServerError('too-many-requests', 'Wait.', { headers: { 'retry-after': '3' } });
  expect(refusalOf(limited, unknown)).toEqual({
    kind: 'limited',
    code: 'too-many-requests',
    detail: 'Wait.',
    headers: { 'retry-after': '3' },
  });
  expect(refusalOf('a text', unknown).kind).toBe('internal');
  expect(refusalOf(new ServerError('configuration', '/etc/x'), unknown).kind).toBe('internal');
});
