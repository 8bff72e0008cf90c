/**
 * A whole broker over HTTP, made small: a real CA with GitHub's stand-in, the real broker with its store in a file, both on
 * loopback, browsers as cookie jars. Only the host is played: it says that each command has started, writes one line and
 * ends well, unless a test says otherwise.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createProof, type ProofKey } from '@beacon/client';
import type { GateEvent } from '@beacon/protocol/gate-event';
import { createLog, type Listening, listen, type TlsPair } from '@beacon/server';
import { freePort } from '../../../infra/demo/free-port.ts';
import { type LoggedIn, type Name, SmallCa } from '../../ca/test/small-ca.ts';
import {
  type BrokerOptions,
  createBroker,
  type Dial,
  type RunConnection,
  type RunningBroker,
} from '../src/index.ts';

export const SERVICE = 'portal';
/** What the CA lets the team of Lin, Kim and Sam do on web-01 through this service. */
export const RUN = { command: 'runner.install', params: { name: 'r1', version: '2.330.0' } };
const HEAD = { seq: 1, hash: '0'.repeat(64) };
/** A file system whose fsync costs nothing. */
const MEMORY = '/dev/shm';

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers are taken apart in many ways
  readonly body: Record<string, any>;
}

export interface AskOptions {
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** What the proof says otherwise than it should. */
  readonly proof?: {
    method?: string;
    path?: string;
    body?: string;
    token?: string;
    key?: ProofKey;
    text?: string;
  };
}

/** Nothing may meet a limit by being quick. */
const WIDE = { requests: 1_000_000, perSeconds: 60 };

export class HttpLab {
  readonly ca: SmallCa;
  readonly folder: string;
  readonly url: string;
  readonly logs: string[] = [];
  readonly dialled: string[] = [];
  /** Is waited for before each command ends. */
  hold: () => Promise<void> = async () => undefined;
  broker!: RunningBroker;
  #server: Server | undefined;
  #listening: Listening | undefined;
  readonly #change: Partial<BrokerOptions>;

  readonly #tls: TlsPair | undefined;

  private constructor(ca: SmallCa, port: number, change: Partial<BrokerOptions>, tls?: TlsPair) {
    this.ca = ca;
    this.#tls = tls;
    this.url = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`;
    this.folder = mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'beacon-http-lab-'));
    this.#change = change;
  }

  /** With a pair for 127.0.0.1 it speaks TLS, by the listener that a broker has. */
  static async start(change: Partial<BrokerOptions> = {}, tls?: TlsPair): Promise<HttpLab> {
    const ca = await SmallCa.start({ quiet: true });
    const lab = new HttpLab(ca, await freePort(), change, tls);
    await lab.#registerBroker();
    await lab.up();
    return lab;
  }

  /** The CA again, after `ca.down`. */
  async caUp(): Promise<void> {
    await this.ca.up();
    await this.#registerBroker();
  }

  async #registerBroker(): Promise<void> {
    const { services, policies, inventory } = this.ca.options;
    const service = { ...this.ca.portal.service, redirect_uris: [`${this.url}/callback`] };
    await this.ca.running.reload(() => ({
      services: new Map([...services, [SERVICE, service]]),
      policies,
      inventory,
    }));
  }

  get keys(): BrokerOptions['keys'] {
    const { service, key } = this.ca.portal;
    return {
      service: { clientId: SERVICE, privateKey: key.privateKey, keyId: service.keys[0]?.kid ?? '' },
      sealing: Buffer.alloc(32, 7),
    };
  }

  async up(change: Partial<BrokerOptions> = {}): Promise<void> {
    this.broker = await createBroker({
      publicUrl: this.url,
      store: join(this.folder, 'broker.db'),
      keys: this.keys,
      ca: this.ca.url,
      github: { apiUrl: this.ca.standin.url, webUrl: this.ca.standin.url, provider: 'github' },
      dial: this.dial,
      procedures: new Map(),
      outside: { fetch: globalThis.fetch, now: this.ca.clock.now, timeoutMs: 5_000 },
      log: createLog({
        name: 'broker',
        level: 'debug',
        destination: { write: (line: string) => void this.logs.push(line) },
      }),
      version: '0.0.0',
      ...this.#change,
      ...change,
      limits: { perAddress: WIDE, perPerson: WIDE, ...this.#change.limits, ...change.limits },
    });
    if (this.#tls !== undefined) {
      const port = Number(new URL(this.url).port);
      this.#listening = await listen(this.broker.app, { host: '127.0.0.1', port, tls: this.#tls });
      return;
    }
    const server = createServer((request, response) => this.broker.app(request, response));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(Number(new URL(this.url).port), '127.0.0.1', resolve));
  }

  async down(): Promise<void> {
    const server = this.#server;
    this.broker.stopWatching();
    await this.#listening?.close(0);
    await new Promise<void>((resolve) => {
      if (server === undefined) resolve();
      server?.close(() => resolve());
      server?.closeAllConnections();
    });
    // The other ends learn of it, so that no request is sent into a connection that is gone.
    await sleep(30);
    await this.broker.close();
  }

  async close(): Promise<void> {
    await this.down();
    await this.ca.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Somebody at the command line, with a token for this broker. */
  login(name: Name): Promise<LoggedIn> {
    return this.ca.login(name, [`urn:beacon:broker:${SERVICE}`, 'urn:beacon:ca']);
  }

  /** A request as a program makes it: token, proof, and for a body its hash. */
  async ask(
    who: LoggedIn,
    method: string,
    path: string,
    body?: unknown,
    options: AskOptions = {},
  ): Promise<Reply> {
    const raw = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const { proof = {} } = options;
    const proven = proof.body ?? raw;
    const made =
      proof.text ??
      (await createProof(proof.key ?? who.proofKey, {
        method: proof.method ?? method,
        url: `${this.url}${proof.path ?? path}`,
        now: this.ca.clock.now(),
        accessToken: proof.token ?? who.accessToken,
        ...(proven === undefined ? {} : { body: Buffer.from(proven) }),
      }));
    return this.send(method, path, raw, {
      authorization: `DPoP ${who.accessToken}`,
      dpop: made,
      ...options.headers,
    });
  }

  async send(
    method: string,
    path: string,
    raw?: string,
    headers: Readonly<Record<string, string | undefined>> = {},
  ): Promise<Reply> {
    const given = Object.entries(headers).filter((pair): pair is [string, string] => pair[1] !== undefined);
    const answer = await fetch(`${this.url}${path}`, {
      method,
      redirect: 'manual',
      headers: [
        ...(raw === undefined ? [] : [['content-type', 'application/json'] as [string, string]]),
        ...given,
      ],
      ...(raw === undefined ? {} : { body: raw }),
    });
    const text = await answer.text();
    const isJson = answer.headers.get('content-type')?.includes('json') === true && text !== '';
    return {
      status: answer.status,
      headers: answer.headers,
      text,
      body: isJson ? (JSON.parse(text) as Reply['body']) : {},
    };
  }

  /** Asks for a run as a program. */
  run(who: LoggedIn, key: string, wish: Record<string, unknown> = {}): Promise<Reply> {
    const body = { v: 1, host: 'web-01', ...RUN, ...wish };
    return this.ask(who, 'POST', '/v1/runs', body, { headers: { 'idempotency-key': key } });
  }

  /** Every byte of the broker's store. */
  storedBytes(): Buffer {
    return Buffer.concat(readdirSync(this.folder).map((name) => readFileSync(join(this.folder, name))));
  }

  readonly dial: Dial = async ({ obtained }) => {
    this.dialled.push(obtained.grant);
    return playedGate(obtained.grant, () => this.hold());
  };
}

function playedGate(grant: string, hold: () => Promise<void>): RunConnection {
  const waiting: GateEvent[] = [];
  let wake = () => {};
  let isOver = false;
  let finish: (end: Awaited<RunConnection['end']>) => void = () => undefined;
  const say = (...events: GateEvent[]) => {
    waiting.push(...events);
    wake();
  };
  const over = () => {
    isOver = true;
    wake();
  };
  return {
    hello: { event: 'hello', version: '0', host: 'web-01', grant, until: '', allowlist: '', head: HEAD },
    async send(request) {
      if (request.kind === 'end') {
        say({ event: 'closed', why: 'ended', head: HEAD });
        finish({ how: 'closed' });
        over();
      }
      if (request.kind !== 'command') return;
      const { id } = request;
      say({ event: 'started', id, command: request.asked.command });
      void hold().then(() =>
        say(
          { event: 'stdout', id, text: `did ${request.asked.command}\n` },
          { event: 'exit', id, why: 'ended', code: 0, signal: null, duration_ms: 1, head: HEAD },
        ),
      );
    },
    events: {
      [Symbol.asyncIterator]: () => ({
        async next() {
          for (;;) {
            const event = waiting.shift();
            if (event !== undefined) return { done: false, value: event };
            if (isOver) return { done: true, value: undefined };
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
        },
      }),
    },
    end: new Promise((resolve) => {
      finish = resolve;
    }),
    kill() {
      finish({ how: 'lost', reason: 'the connection is gone' });
      over();
    },
  };
}

/** A browser without scripts, as far as cookies go; no redirection is followed unless asked. */
export class Browser {
  readonly jar = new Map<string, string>();
  readonly setCookies: string[] = [];

  async visit(url: string, init: { form?: Record<string, string>; headers?: Record<string, string> } = {}) {
    const { origin } = new URL(url);
    const mine = [...this.jar].filter(([key]) => key.startsWith(`${origin} `));
    const cookie = mine.map(([key, value]) => `${key.split(' ')[1]}=${value}`).join('; ');
    const answer = await fetch(url, {
      method: init.form === undefined ? 'GET' : 'POST',
      redirect: 'manual',
      headers: {
        accept: 'text/html',
        ...(cookie === '' ? {} : { cookie }),
        ...(init.form === undefined ? {} : { origin }),
        ...init.headers,
      },
      ...(init.form === undefined ? {} : { body: new URLSearchParams(init.form) }),
    });
    for (const line of answer.headers.getSetCookie()) {
      this.setCookies.push(line);
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (value === '' || /max-age=0/i.test(line) || /1970/.test(line)) this.jar.delete(`${origin} ${name}`);
      else this.jar.set(`${origin} ${name}`, value);
    }
    const location = answer.headers.get('location');
    return {
      status: answer.status,
      url,
      headers: answer.headers,
      location: location === null ? undefined : new URL(location, url).href,
      text: await answer.text(),
    };
  }

  /** Follows redirections and says yes at GitHub and at the CA, up to the first page or address for which `isEnd` holds. */
  async travel(start: string, person: string, isEnd: (url: string) => boolean = () => false) {
    let page = await this.visit(start);
    for (let hops = 0; hops < 20; hops += 1) {
      if (page.location !== undefined) {
        if (isEnd(page.location)) return page;
        page = await this.visit(page.location);
        continue;
      }
      const form = formOf(page.text);
      if (form === undefined || page.status !== 200 || !/name="(person|decision|client_id)"/.test(page.text))
        return page;
      const said = 'xsrf' in form.fields ? { decision: 'allow' } : { person };
      page = await this.visit(new URL(form.action || page.url, page.url).href, {
        form: { ...form.fields, ...said },
      });
    }
    throw new Error('too many redirections');
  }
}

export function formOf(text: string): { action: string; fields: Record<string, string> } | undefined {
  const [, attributes, content] = /<form\b([^>]*)>([\s\S]*?)<\/form>/.exec(text) ?? [];
  if (attributes === undefined || content === undefined) return undefined;
  const fields: Record<string, string> = {};
  for (const [, input = ''] of content.matchAll(/<input\b([^>]*)>/g)) {
    const name = attribute(input, 'name');
    if (name !== undefined) fields[name] = attribute(input, 'value');
  }
  return { action: attribute(attributes, 'action'), fields };
}

function attribute(text: string, name: string): string {
  const value = new RegExp(`\\b${name}="([^"]*)"`).exec(text)?.[1] ?? '';
  return value.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)));
}
