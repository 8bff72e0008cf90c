import { formatSchema } from '@beacon/policy';
import { expect, test } from '@jest/globals';
import { inventory } from './world.ts';

test('the schema has every command with its parameters and hides the secret ones', () => {
  const text = formatSchema(inventory);
  for (const part of ['"runner.install"', '"ca.rotate"', '"ssh"', 'repo: String', 'tags String'])
    expect(text).toContain(part);
  expect(text).not.toContain('token');
});
