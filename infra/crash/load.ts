/**
 * The load under which the CA is killed: several workers that ask for certificates and decisions, are refused, revoke what
 * they got and end a session, and write down each answer the moment it is there. Requests that were answered, and those
 * that were under way at the kill, are kept to be shown again.
 */
import { type Caller, type Prepared, prepare, prepareCertificate, type Reply, send } from './caller.ts';
import type { Anchor, Ledger } from './ledger.ts';
import type { Random } from './random.ts';

/** Shown again after the kill, of those that were answered. */
const KEPT = 12;

export interface Sent {
  readonly request: Prepared;
  /** Undefined when no answer came. */
  readonly status: number | undefined;
  /** The key that the request wants certified. */
  readonly publicKey?: string;
}

export interface LoadOptions {
  readonly caUrl: string;
  readonly ledger: Ledger;
  readonly random: Random;
  readonly callers: readonly Caller[];
  /** Somebody whose session is ended under load, if at all. */
  readonly leaving: Caller | undefined;
  readonly workers: number;
}

export interface Load {
  /** Resolves at the first answer: a server that has just started takes its time for it. */
  readonly begun: Promise<void>;
  /** Ends the load; resolves when no request is under way. */
  end(): Promise<readonly Sent[]>;
  /** The leaving one's session, once its end was acknowledged. */
  readonly ended: string | undefined;
}

let denials = 0;

export function startLoad(options: LoadOptions): Load {
  const { caUrl, ledger, random } = options;
  const answered: Sent[] = [];
  const underWay = new Set<Sent>();
  let going = true;
  let ended: string | undefined;
  const begun = Promise.withResolvers<void>();

  async function ask(request: Prepared, publicKey?: string): Promise<Reply | undefined> {
    const key = publicKey === undefined ? {} : { publicKey };
    const sent: Sent = { request, status: undefined, ...key };
    underWay.add(sent);
    const reply = await send(caUrl, request);
    if (reply === undefined) return undefined;
    underWay.delete(sent);
    begun.resolve();
    if (reply.status < 300 || reply.status === 403 || reply.status === 404) {
      answered.push({ ...sent, status: reply.status });
      if (answered.length > KEPT) answered.splice(random.between(0, answered.length - 1), 1);
    }
    return reply;
  }

  async function certificate(who: Caller): Promise<string | undefined> {
    const { request, publicKey } = await prepareCertificate(caUrl, who, 'web-01');
    const reply = await ask(request, publicKey);
    return reply?.status === 201 ? noteCertificate(ledger, reply, publicKey) : undefined;
  }

  async function refused(who: Caller): Promise<void> {
    denials += 1;
    const host = `absent-${denials}`;
    const reply = await ask((await prepareCertificate(caUrl, who, host)).request);
    if (reply?.status === 404) ledger.add('denials', host);
  }

  async function decision(who: Caller): Promise<void> {
    const raw = JSON.stringify({ v: 1, host: 'web-01', login: 'deploy', lifetime_seconds: 900 });
    const reply = await ask(await prepare(caUrl, who, 'POST', '/v1/decisions', raw));
    if (reply?.status === 200) ledger.add('decisions', reply.body['record'] as Anchor);
  }

  async function revoke(who: Caller, serial: string): Promise<void> {
    const raw = JSON.stringify({ v: 1, by: 'serial', value: serial, reason: 'crash test' });
    const reply = await ask(await prepare(caUrl, who, 'POST', '/v1/revocations', raw));
    if (reply?.status !== 200) return;
    const { revoked, record } = reply.body as unknown as { revoked: string[]; record: Anchor };
    ledger.add('revocations', { serials: revoked, record });
  }

  async function leave(who: Caller): Promise<void> {
    const current = await ask(await prepare(caUrl, who, 'GET', '/v1/sessions/current'));
    const { id } = (current?.body['session'] ?? {}) as { id?: string };
    if (id === undefined) return;
    const reply = await send(caUrl, await prepare(caUrl, who, 'DELETE', `/v1/sessions/${id}`));
    if (reply?.status !== 200) return;
    ended = id;
    ledger.add('sessionEnds', { session: id, record: reply.body['record'] as Anchor });
  }

  async function work(who: Caller): Promise<void> {
    while (going) {
      const chance = random.next();
      if (chance < 0.15) await refused(who);
      else if (chance < 0.3) await decision(who);
      else {
        const serial = await certificate(who);
        if (serial !== undefined && random.next() < 0.3) await revoke(who, serial);
      }
      // A connection that is refused at once must not turn the generator into a spin.
      if (underWay.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  const { callers, leaving } = options;
  const workers = Array.from({ length: options.workers }, (_, index) => callers[index % callers.length])
    .filter((who) => who !== undefined)
    .map(work);
  if (leaving !== undefined) workers.push(leave(leaving));
  return {
    begun: begun.promise,
    get ended() {
      return ended;
    },
    async end() {
      going = false;
      await Promise.all(workers);
      return [...answered, ...[...underWay].slice(-KEPT)];
    },
  };
}

/** Writes a certificate's answer down; answers its serial. */
export function noteCertificate(ledger: Ledger, { body }: Reply, publicKey: string): string {
  const { serial, record, valid_before } = body as unknown as {
    serial: string;
    record: Anchor;
    valid_before: string;
  };
  ledger.add('certificates', { serial, publicKey, validBefore: valid_before, record });
  return serial;
}
