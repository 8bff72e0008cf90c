/**
 * `GET /healthz`: the process answers. `GET /readyz`: what it needs is there. Public, so the names of the checks are all
 * that is told; why one fails goes to the log.
 */
import type { Log } from './log.ts';
import { defineRoute, type Route } from './route.ts';

/** Each resolves when what it looks at is well, and rejects when not. */
export type ReadinessChecks = Readonly<Record<string, () => Promise<void>>>;

/** Words about what goes on working and still wants a look, such as `last-good`; public, like the names. */
export type ReadinessNotes = Readonly<Record<string, () => string>>;

const CHECK_MS = 5_000;

export function healthRoutes(
  checks: ReadinessChecks,
  log: Log,
  notes: ReadinessNotes = {},
): readonly Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/healthz',
      summary: 'Whether the process answers',
      tag: 'operation',
      access: 'public',
      request: {},
      responses: { 200: { description: 'It does' } },
      handle: () => ({ status: 200, body: { status: 'ok' } }),
    }),
    defineRoute({
      method: 'GET',
      path: '/readyz',
      summary: 'Whether what the server needs is there',
      tag: 'operation',
      access: 'public',
      request: {},
      responses: { 200: { description: 'All checks hold' }, 503: { description: 'Some do not' } },
      handle: async () => {
        const results = await Promise.all(
          Object.entries(checks).map(async ([name, check]) => [name, await holds(name, check, log)] as const),
        );
        const ok = results.every(([, held]) => held);
        return {
          status: ok ? 200 : 503,
          body: {
            status: ok ? 'ok' : 'failing',
            checks: Object.fromEntries(results.map(([name, held]) => [name, held ? 'ok' : 'failing'])),
            ...(Object.keys(notes).length === 0 ? {} : { notes: readNotes(notes) }),
          },
        };
      },
    }),
  ];
}

function readNotes(notes: ReadinessNotes): Record<string, string> {
  return Object.fromEntries(Object.entries(notes).map(([name, read]) => [name, read()]));
}

async function holds(name: string, check: () => Promise<void>, log: Log): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no result within ${CHECK_MS} ms`)), CHECK_MS);
  });
  try {
    await Promise.race([check(), late]);
    return true;
  } catch (error) {
    log.warn({ err: error, check: name }, 'a readiness check fails');
    return false;
  } finally {
    clearTimeout(timer);
  }
}
