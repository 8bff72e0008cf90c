import { Buffer } from 'node:buffer';
import { expect, test } from '@jest/globals';
import { createSharedDocuments } from '../src/ca-documents.ts';

/** A CA whose list says how often it was asked. */
function counting() {
  const asked = { keys: 0, list: 0, isDown: false };
  return {
    asked,
    api: {
      authorityKeys: async () => {
        asked.keys += 1;
        return { user: [], host: [] };
      },
      revocationList: async () => {
        asked.list += 1;
        if (asked.isDown) throw new Error('down');
        return Buffer.from([asked.list]);
      },
    },
  };
}

test('what the CA publishes is read once for all that ask within five seconds, whoever they are', async () => {
  let at = 1_000_000;
  const shared = createSharedDocuments(() => new Date(at));
  const [one, two] = [counting(), counting()];
  const [first, second] = [shared.share(one.api), shared.share(two.api)];
  const lists = await Promise.all([first.revocationList(), second.revocationList(), first.revocationList()]);
  expect(lists.map((list) => list[0])).toEqual([1, 1, 1]);
  await first.authorityKeys();
  await second.authorityKeys();
  expect([one.asked, two.asked]).toMatchObject([
    { keys: 1, list: 1 },
    { keys: 0, list: 0 },
  ]);
  at += 4_999;
  await second.revocationList();
  expect(two.asked.list).toBe(0);
  at += 1;
  await second.revocationList();
  expect(two.asked.list).toBe(1);
  // A clock that went back makes nothing live longer.
  at -= 10;
  await first.revocationList();
  expect(one.asked.list).toBe(2);
});

test('an answer that did not come is asked for again', async () => {
  const shared = createSharedDocuments(() => new Date(0));
  const { api, asked } = counting();
  asked.isDown = true;
  await expect(shared.share(api).revocationList()).rejects.toThrow('down');
  asked.isDown = false;
  expect((await shared.share(api).revocationList())[0]).toBe(2);
});
