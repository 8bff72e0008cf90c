/** A host certificate that was taken back: `beacon ssh` connects to nobody who shows it. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { logIn } from '../demo/login.ts';
import { Stage } from '../demo/stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open();
  await logIn(stage, 'ada');
  await stage.addHost('web-01', 'web');
  await stage.addHost('web-02', 'web');
  await logIn(stage, 'lin');
}, 120_000);
afterAll(() => stage.close());

test('R1: refuses a host whose certificate is revoked, and goes on to connect to another', async () => {
  const before = await stage.beacon('lin', ['ssh', 'web-01', '--', 'echo', 'here']);
  expect(before).toMatchObject({ status: 0, stdout: 'here\n' });
  // The first host was the first to get a certificate.
  const revoked = await stage.beacon('ada', [
    'revoke',
    '--serial',
    '1',
    '--reason',
    'the host was taken over',
  ]);
  expect(revoked).toMatchObject({ status: 0 });
  const after = await stage.beacon('lin', ['ssh', 'web-01', '--', 'echo', 'here']);
  expect(after).toMatchObject({ status: 255, stdout: '' });
  expect(after.stderr).toMatch(/revoked/i);
  const other = await stage.beacon('lin', ['ssh', 'web-02', '--', 'echo', 'there']);
  expect(other).toMatchObject({ status: 0, stdout: 'there\n' });
}, 60_000);
