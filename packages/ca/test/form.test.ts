import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { expect, test } from '@jest/globals';
import { readForm } from '../src/form.ts';

const TYPE = 'application/x-www-form-urlencoded';

function request(body: string, type = TYPE): IncomingMessage {
  return Object.assign(Readable.from([Buffer.from(body)]), {
    headers: { 'content-type': type },
  }) as unknown as IncomingMessage;
}

test('reads the fields of a form', async () => {
  const form = await readForm(request('xsrf=a%20b&decision=allow', `${TYPE}; charset=utf-8`));
  expect(form).toEqual(
    new Map([
      ['xsrf', 'a b'],
      ['decision', 'allow'],
    ]),
  );
});

test('refuses another type, a doubled field, and a form that is too long', async () => {
  expect(await readForm(request('a=b', 'text/plain'))).toBeUndefined();
  expect(await readForm(request('a=b&a=c'))).toBeUndefined();
  expect(await readForm(request(`a=${'b'.repeat(5000)}`))).toBeUndefined();
});
