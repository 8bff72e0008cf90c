/** A real app on loopback, with a log that can be read, for the tests of what passes over HTTP. */
import { Writable } from 'node:stream';
import { afterAll } from '@jest/globals';
import { type AppOptions, createApp, createLog, type Listening, listen, ServerError } from '../src/index.ts';

export interface Caller {
  readonly name: string;
}

export interface AppOnLoopback {
  readonly url: string;
  readonly listening: Listening;
  log(): string;
}

const open: Listening[] = [];

afterAll(async () => {
  for (const listening of open) await listening.close(100);
});

export async function startApp(options: Partial<AppOptions<Caller>>): Promise<AppOnLoopback> {
  let text = '';
  const destination = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  const app = createApp<Caller>({
    routes: [],
    authenticate: async ({ request }) => {
      const [scheme, name] = (request.headers['authorization'] ?? '').split(' ');
      if (scheme !== 'Test' || name === undefined) {
        throw new ServerError('unauthenticated', 'Nobody is logged in: log in.', {
          headers: { 'www-authenticate': 'Test' },
        });
      }
      return { name };
    },
    callerKey: ({ name }) => name,
    toProblem: () => undefined,
    log: createLog({ name: 'test', level: 'info', destination }),
    publicUrl: 'https://ca.example.org',
    ...options,
  });
  const listening = await listen(app, { host: '127.0.0.1', port: 0 });
  open.push(listening);
  return { url: listening.url, listening, log: () => text };
}
