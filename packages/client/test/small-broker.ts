/**
 * A broker for tests: an HTTP server that speaks the messages of the real one, each checked against its schema, and takes
 * the tokens of the CA for tests. Its runs do what the test says, and its streams of events can be cut.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  brokerFacts,
  brokerHostDetail,
  brokerHostList,
  procedureList,
} from '@beacon/protocol/http/broker-hosts';
import { placeList, runnerList } from '@beacon/protocol/http/runners';
import {
  type RunEntry,
  type RunRequest,
  run as runAnswer,
  runChange,
  runList,
  runQuery,
  runRequest,
} from '@beacon/protocol/http/runs';
import { trace as traceAnswer } from '@beacon/protocol/http/trace';
import { createId } from '@beacon/protocol/id';
import type { RunEventKind, RunWish } from '@beacon/protocol/run-words';
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify } from 'jose';
import type { SmallCa } from './small-ca.ts';
import { Refusal, refuse, send } from './small-ca-refusal.ts';
import { BROKER_AUDIENCE } from './small-ca-tokens.ts';

export interface BrokerKnobs {
  hosts: unknown;
  /** What `GET /v1/hosts/{id}` answers, by id. */
  details: Record<string, unknown>;
  trace: unknown;
  /** Is called when a run was made. */
  script: (run: RunEntry) => void;
  /** Is called when a person pressed something. */
  press: (run: RunEntry, wish: RunWish) => void;
  /** Whether it has answered the request in its own way. */
  intercept: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** What stands on the wire instead of an event's text. */
  wire: (text: string) => string;
}

export interface SmallBroker {
  readonly url: string;
  readonly knobs: BrokerKnobs;
  /** Every request as `METHOD /path?query`. */
  readonly requests: string[];
  readonly orders: RunRequest[];
  readonly wishes: { readonly wish: RunWish; readonly secrets: unknown }[];
  /** What `last-event-id` said, of each stream that was opened. */
  readonly lastIds: (string | undefined)[];
  /** Tokens that were presented, each once. */
  readonly tokens: Set<string>;
  say(run: string, kind: RunEventKind, data: object): void;
  change(run: string, changes: Partial<RunEntry>): RunEntry;
  /** Cuts all streams of events. */
  drop(): void;
  close(): Promise<void>;
}

interface Kept {
  entry: RunEntry;
  readonly fingerprint: string;
  readonly events: string[];
  readonly watchers: Set<ServerResponse>;
}

const PERSON = 'github:583231';

export async function startSmallBroker(
  ca: Pick<SmallCa, 'url' | 'findToken'>,
  initial: Partial<BrokerKnobs> = {},
): Promise<SmallBroker> {
  const knobs: BrokerKnobs = {
    hosts: [{ id: 'build-01', state: 'enabled', logins: ['beacon'], labels: {}, pools: ['ci'] }],
    details: {},
    trace: undefined,
    script: () => undefined,
    press: () => undefined,
    intercept: () => false,
    wire: (text) => text,
    ...initial,
  };
  const requests: string[] = [];
  const orders: RunRequest[] = [];
  const wishes: SmallBroker['wishes'] = [];
  const lastIds: SmallBroker['lastIds'] = [];
  const tokens = new Set<string>();
  const proofs = new Set<string>();
  const runs = new Map<string, Kept>();
  const byKey = new Map<string, string>();
  let url = '';

  const kept = (id: string): Kept => {
    const found = runs.get(id);
    if (found === undefined) throw new Refusal(404, 'run-unknown', `there is no run ${id}: see beacon runs`);
    return found;
  };
  const change: SmallBroker['change'] = (id, changes) => {
    const one = kept(id);
    one.entry = runAnswer.parse({ ...one.entry, ...changes });
    return one.entry;
  };
  const say: SmallBroker['say'] = (id, kind, data) => {
    const one = kept(id);
    const seq = one.events.length + 1;
    const text = `id: ${seq}\nevent: ${kind}\ndata: ${JSON.stringify({ time: new Date().toISOString(), ...data })}\n\n`;
    one.events.push(text);
    one.entry = { ...one.entry, last_event: seq };
    for (const watcher of one.watchers) {
      watcher.write(knobs.wire(text));
      if (kind === 'over') watcher.end();
    }
  };

  async function authorize(request: IncomingMessage, response: ServerResponse, path: string, body: Buffer) {
    const [scheme, token = ''] = (request.headers.authorization ?? '').split(' ');
    const digest = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('base64url');
    const known = ca.findToken(token);
    const { payload, protectedHeader } = await jwtVerify(String(request.headers['dpop']), EmbeddedJWK, {
      typ: 'dpop+jwt',
      algorithms: ['EdDSA'],
    });
    const thumbprint = await calculateJwkThumbprint(protectedHeader.jwk ?? {});
    if (
      scheme !== 'DPoP' ||
      known?.audience !== BROKER_AUDIENCE ||
      known.thumbprint !== thumbprint ||
      known.expiresAt < Date.now()
    ) {
      response.setHeader('www-authenticate', 'DPoP error="invalid_token"');
      throw new Refusal(401, 'token-invalid', 'the session has ended: log in again');
    }
    tokens.add(token);
    if (
      payload['htm'] !== request.method ||
      payload['htu'] !== `${url}${path}` ||
      proofs.has(String(payload.jti))
    )
      throw new Refusal(401, 'proof-invalid');
    proofs.add(String(payload.jti));
    if (payload['ath'] !== digest(token)) throw new Refusal(401, 'proof-invalid');
    if (body.length > 0 && payload['body'] !== digest(body)) throw new Refusal(401, 'proof-body');
  }

  function create(order: RunRequest, key: string, text: string) {
    if (!/^[\x21-\x7e]{1,128}$/.test(key)) throw new Refusal(400, 'request-malformed', 'no idempotency-key');
    const same = byKey.get(key);
    if (same !== undefined) {
      if (kept(same).fingerprint !== text) throw new Refusal(409, 'idempotency-conflict');
      return { status: 200, entry: kept(same).entry };
    }
    orders.push(order);
    const now = new Date().toISOString();
    const entry = runAnswer.parse({
      id: createId(Date.now()),
      person: PERSON,
      service: 'beacon-cli',
      host: order.host,
      login: order.login ?? 'beacon',
      kind: order.command === undefined ? 'procedure' : 'command',
      title: order.command ?? order.procedure,
      params: order.params,
      phase: 'queued',
      attempt: 1,
      steps: [{ command: order.command ?? 'runner.preflight', outcome: 'waiting', preparation: 'none' }],
      left: [],
      created: now,
      updated: now,
      possible: ['cancel'],
      last_event: 0,
    });
    runs.set(entry.id, { entry, fingerprint: text, events: [], watchers: new Set() });
    byKey.set(key, entry.id);
    setImmediate(() => knobs.script(entry));
    return { status: 201, entry };
  }

  function stream(request: IncomingMessage, response: ServerResponse, id: string): void {
    const { events, watchers } = kept(id);
    const last = request.headers['last-event-id'];
    lastIds.push(typeof last === 'string' ? last : undefined);
    const after = Number(last ?? 0);
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    response.write(': hello\n\n');
    for (const text of events.slice(after)) response.write(knobs.wire(text));
    if (events.at(-1)?.includes('event: over') === true) {
      response.end();
      return;
    }
    watchers.add(response);
    response.once('close', () => watchers.delete(response));
  }

  async function route(request: IncomingMessage, response: ServerResponse, body: Buffer): Promise<void> {
    const { pathname: path, searchParams } = new URL(request.url ?? '/', url);
    requests.push(`${request.method} ${request.url}`);
    if (knobs.intercept(request, response)) return;
    const key = `${request.method} ${path}`;
    const answer = (schema: { parse(value: unknown): unknown }, value: unknown, status = 200) =>
      send(response, status, schema.parse(value));
    if (key === 'GET /.well-known/beacon') {
      return answer(brokerFacts, { v: 1, service: 'portal', ca: ca.url });
    }
    await authorize(request, response, path, body);
    const asked: unknown = body.length > 0 ? JSON.parse(body.toString()) : {};
    switch (key) {
      case 'GET /v1/hosts':
        return answer(brokerHostList, { hosts: knobs.hosts });
      case 'GET /v1/procedures':
        return answer(procedureList, { procedures: [] });
      case 'GET /v1/places':
        return answer(placeList, {
          places: [{ scope: 'acme/web', kind: 'repository', may_add: true, is_public: false }],
        });
      case 'GET /v1/runners':
        return answer(runnerList, { runners: [{ name: 'r1', finding: 'orphan-on-host' }] });
      case 'POST /v1/runs': {
        const made = create(
          runRequest.parse(asked),
          String(request.headers['idempotency-key'] ?? ''),
          body.toString(),
        );
        return answer(runAnswer, made.entry, made.status);
      }
      case 'GET /v1/runs': {
        const { host, phase, limit } = runQuery.parse(Object.fromEntries(searchParams));
        const found = [...runs.values()]
          .map(({ entry }) => entry)
          .filter((entry) => (host ?? entry.host) === entry.host && (phase ?? entry.phase) === entry.phase);
        return answer(runList, { runs: found.toReversed().slice(0, limit) });
      }
      default:
    }
    const [, host] = /^GET [/]v1[/]hosts[/]([^/]+)$/.exec(key) ?? [];
    if (host !== undefined) {
      const detail = knobs.details[host];
      if (detail === undefined) throw new Refusal(404, 'host-unknown', `there is no host ${host} for you`);
      return answer(brokerHostDetail, detail);
    }
    if (/^GET [/]v1[/](trace[/][^/]+|runs[/][^/]+[/]trace)$/.test(key))
      return answer(traceAnswer, knobs.trace);
    const [, method, id = '', what] = /^(GET|POST) [/]v1[/]runs[/]([^/]+)(?:[/]([a-z]+))?$/.exec(key) ?? [];
    if (method === 'GET' && what === undefined) return answer(runAnswer, kept(id).entry);
    if (method === 'GET' && what === 'events') return stream(request, response, id);
    if (method === 'POST' && what !== undefined) {
      const wish = what as RunWish;
      if (!kept(id).entry.possible.includes(wish))
        throw new Refusal(400, 'wish-refused', `${wish} is not possible now`);
      wishes.push({ wish, secrets: runChange.parse(asked).secrets });
      knobs.press(kept(id).entry, wish);
      return answer(runAnswer, kept(id).entry);
    }
    throw new Refusal(404, 'not-found', `there is no ${path}`);
  }

  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      route(request, response, Buffer.concat(parts)).catch((error: unknown) => refuse(response, error));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    knobs,
    requests,
    orders,
    wishes,
    lastIds,
    tokens,
    say,
    change,
    drop: () => {
      for (const { watchers } of runs.values()) for (const watcher of watchers) watcher.destroy();
    },
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
