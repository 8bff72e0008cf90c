/** How many streams of events are open: in all, and of one person. A stream costs memory for as long as it lasts. */
import { ServerError } from '@beacon/server';

export interface Watchers {
  /** Counts a stream; call what it answers when the stream has ended. Throws ServerError `too-many-requests`. */
  enter(person: string): () => void;
  readonly open: number;
}

export function createWatchers(limits: { readonly inAll: number; readonly perPerson: number }): Watchers {
  const open = new Map<string, number>();
  let all = 0;
  return {
    get open() {
      return all;
    },
    enter(person) {
      const mine = open.get(person) ?? 0;
      if (mine >= limits.perPerson) throw tooMany(`you have ${mine}`);
      if (all >= limits.inAll) throw tooMany(`this broker has ${all}`);
      all += 1;
      open.set(person, mine + 1);
      let isOpen = true;
      return () => {
        if (!isOpen) return;
        isOpen = false;
        all -= 1;
        const left = (open.get(person) ?? 1) - 1;
        if (left > 0) open.set(person, left);
        else open.delete(person);
      };
    },
  };
}

function tooMany(how: string): ServerError {
  return new ServerError(
    'too-many-requests',
    `Too many streams of events are open (${how}): close one, or try again later.`,
    { headers: { 'retry-after': '15' } },
  );
}
