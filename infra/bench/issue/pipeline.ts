/**
 * The CA's own work without HTTP, in a process of its own: who asks (token, proof, session), then `issueCertificate`
 * (host, policy, durable record, signature) over the same folder and store as the server's, many callers at a time.
 */
import { createLog, createSealer } from '@beacon/server';
import { createAuthenticate } from '../../../packages/ca/src/access-token.ts';
import { createCa } from '../../../packages/ca/src/create-ca.ts';
import { issueCertificate } from '../../../packages/ca/src/issue.ts';
import { loadCa } from '../../../packages/ca/src/load.ts';
import { createOauthStore } from '../../../packages/ca/src/oauth-store.ts';
import { isDisabled } from '../../../packages/ca/src/persons.ts';
import { PATH, type PreparedRequest, prepareRequests, type RequestKind } from './prepared-request.ts';
import type { Login } from './served-ca.ts';

/** What the parent asks for. */
export interface PipelineOrder {
  readonly configuration: string;
  readonly url: string;
  readonly logins: readonly Login[];
  readonly kind: RequestKind;
  readonly callers: number;
  readonly warmSeconds: number;
  readonly seconds: number;
  readonly requests: number;
}

/** Certificates a second, and the processor time of one in microseconds, over all threads. */
export interface PipelineResult {
  readonly per_s: number;
  readonly cpu_us: number;
}

process.once('message', (order: PipelineOrder) => {
  run(order).then(
    (result) => process.send?.({ result }, () => process.exit(0)),
    (error: unknown) => process.send?.({ error: String(error) }, () => process.exit(1)),
  );
});

async function run(order: PipelineOrder): Promise<PipelineResult> {
  const log = createLog({ name: 'bench', level: 'warn', destination: process.stderr });
  const { options } = await loadCa(order.configuration, log);
  const running = await createCa(options);
  const { ca } = running;
  const authenticate = createAuthenticate({
    store: createOauthStore({
      database: ca.store,
      write: (unit) => ca.commit.write(unit),
      sealer: createSealer(options.keys.sealing),
      now: ca.now,
      onGrantRevoked: () => Promise.resolve(),
    }),
    sessions: ca.sessions,
    isClient: () => true,
    isDisabled: (person) => isDisabled(ca, person),
    now: ca.now,
  });
  const issue = async ({ accessToken, proof, body }: PreparedRequest) => {
    const caller = await authenticate({
      request: {
        id: '',
        ip: '127.0.0.1',
        method: 'POST',
        path: PATH,
        url: `${order.url}${PATH}`,
        headers: { authorization: `DPoP ${accessToken}`, dpop: proof },
      },
      rawBody: body,
    });
    const request = { body: JSON.parse(body.toString()), rawBody: body, ip: '127.0.0.1' };
    return issueCertificate(ca, caller, request);
  };

  const requests = await prepareRequests(order.url, order.logins, order.requests, order.kind);
  const go = new Promise<void>((resolve) => process.once('message', () => resolve()));
  process.send?.({ ready: true });
  await go;
  let next = 0;
  let counted = 0;
  const from = performance.now() + order.warmSeconds * 1000;
  const until = from + order.seconds * 1000;
  let last = from;
  let cpu = process.cpuUsage();
  setTimeout(() => {
    cpu = process.cpuUsage();
  }, order.warmSeconds * 1000);
  const call = async () => {
    while (next < requests.length && performance.now() < until) {
      const request = requests[next++];
      if (request === undefined) return;
      await issue(request);
      const now = performance.now();
      if (now < from || now > until) continue;
      counted++;
      last = now;
    }
  };
  await Promise.all(Array.from({ length: order.callers }, call));
  const seconds = (next < requests.length ? until - from : last - from) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  await running.close();
  return { per_s: counted / seconds, cpu_us: (user + system) / counted };
}
