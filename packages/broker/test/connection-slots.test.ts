/** How many connections there may be at once, and who is next. */
import { describe, expect, test } from '@jest/globals';
import { ConnectionSlots } from '../src/connection-slots.ts';

const nothing = (): void => undefined;

describe('places for connections', () => {
  test('R12: lets no more in than the bounds, in the order in which they came', async () => {
    const slots = new ConnectionSlots({ inAll: 3, perHost: 2, waiting: 10 });
    const order: string[] = [];
    const take = async (name: string, host: string) => {
      const giveBack = await slots.take(host, undefined, (text) =>
        order.push(`${name} ${text.split(':')[0]}`),
      );
      order.push(name);
      return giveBack;
    };
    const [first] = await Promise.all([take('1', 'a'), take('2', 'a')]);
    const third = take('3', 'a');
    const fourth = take('4', 'a');
    // Another host's connections wait for nobody.
    const other = await take('5', 'b');
    const sixth = take('6', 'b');
    first?.();
    first?.();
    await third;
    other();
    await sixth;
    expect(order).toEqual(['1', '2', '3 waiting', '4 waiting', '5', '6 waiting', '3', '6']);
    (await third)();
    await fourth;
  });

  test('forgets whoever leaves while waiting, and refuses to let more wait than its bound', async () => {
    const slots = new ConnectionSlots({ inAll: 1, perHost: 1, waiting: 1 });
    const giveBack = await slots.take('a', undefined, nothing);
    const gone = new AbortController();
    const waiting = slots.take('a', gone.signal, nothing);
    await expect(slots.take('a', undefined, nothing)).rejects.toMatchObject({ code: 'queue-full' });
    gone.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
    await expect(slots.take('a', gone.signal, nothing)).rejects.toThrow('gone');
    const next = slots.take('a', undefined, nothing);
    giveBack();
    await next;
  });
});
