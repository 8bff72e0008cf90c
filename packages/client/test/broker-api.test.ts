import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  type BrokerApi,
  createBrokerApi,
  createCaApi,
  discoverBroker,
  discoverCa,
  exportProofKey,
  finishDeviceLogin,
  generateProofKey,
  openBrokerSession,
  openSession,
  type RunEvent,
  type SessionStorage,
  type StoredSession,
  startDeviceLogin,
  storedSession,
} from '../src/index.ts';
import { type SmallBroker, startSmallBroker } from './small-broker.ts';
import { type SmallCa, startSmallCa } from './small-ca.ts';

let ca: SmallCa;
let broker: SmallBroker;
let stored: StoredSession;
let storage: SessionStorage;
let api: BrokerApi;

const ORDER = { host: 'build-01', command: 'app.pull', params: { ref: 'main' } };

beforeEach(async () => {
  ca = await startSmallCa();
  broker = await startSmallBroker(ca);
  const metadata = await discoverCa(ca.url);
  const proofKey = generateProofKey();
  const client = { metadata, clientId: 'beacon-cli', proofKey, resources: metadata.protectedResources };
  const tokens = await finishDeviceLogin(client, await startDeviceLogin(client));
  const { issuer, tokenEndpoint } = metadata;
  stored = storedSession(
    { issuer, clientId: 'beacon-cli', tokenEndpoint, key: exportProofKey(proofKey) },
    tokens,
  );
  let last: Promise<unknown> = Promise.resolve();
  storage = {
    read: async () => stored,
    update: (change) => {
      const next = last.then(async () => {
        stored = await change(stored);
        return stored;
      });
      last = next.catch(() => undefined);
      return next;
    },
  };
  const facts = await discoverBroker(broker.url);
  expect(facts).toEqual({ url: broker.url, service: 'portal', ca: ca.url });
  api = await open();
});
afterEach(async () => {
  await broker.close();
  await ca.close();
});

async function open(reconnecting: { attempts?: number; silenceMs?: number } = {}): Promise<BrokerApi> {
  const credentials = await openBrokerSession(storage, 'portal');
  return createBrokerApi({
    url: broker.url,
    credentials,
    reconnecting: { leastMs: 1, mostMs: 2, attempts: 3, ...reconnecting },
  });
}

async function collect(events: AsyncIterable<RunEvent>): Promise<RunEvent[]> {
  const all: RunEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

describe("a broker's token", () => {
  it('is asked for once, kept in memory alone, and leaves the CA token of the login as it was', async () => {
    const before = stored;
    await Promise.all([api.hosts(), api.hosts(), api.procedures()]);
    expect(ca.refreshes).toEqual({ count: 1, reused: 0 });
    expect(stored).toEqual({ ...before, refreshToken: stored.refreshToken });
    expect(stored.refreshToken).not.toBe(before.refreshToken);
    for (const token of broker.tokens) expect(JSON.stringify(stored)).not.toContain(token);
    expect((await createCaApi(await openSession(storage)).whoami()).session.name).toBe('octocat');
  });

  it('is no token for the CA', async () => {
    const credentials = await openBrokerSession(storage, 'portal');
    await expect(createCaApi(credentials).whoami()).rejects.toMatchObject({ code: 'refused' });
  });

  it('is renewed in turn with tokens for the CA, and no refresh token is used twice', async () => {
    ca.knobs.accessTokenSeconds = 1;
    const forCa = createCaApi(await openSession(storage));
    for (let round = 0; round < 3; round++) {
      stored = { ...stored, accessTokenExpiresAt: new Date(0) };
      await Promise.all([api.hosts(), forCa.whoami(), (await open()).hosts()]);
    }
    expect(ca.refreshes.reused).toBe(0);
  });

  it('is not given for a broker that the login does not reach', async () => {
    const credentials = await openBrokerSession(storage, 'elsewhere');
    await expect(credentials.accessToken()).rejects.toMatchObject({
      code: 'oauth-refused',
      kind: 'unauthenticated',
    });
  });

  it('is no more when the session has ended', async () => {
    ca.endSessions();
    await expect(api.hosts()).rejects.toMatchObject({ code: 'session-ended' });
  });
});

describe("a broker's description", () => {
  it.each([[{ v: 2 }], [{ service: '../x' }], [{ ca: 'http://ca.example.org' }]])(
    'is refused with %p',
    async (change) => {
      const fetch = async () => Response.json({ v: 1, service: 'portal', ca: ca.url, ...change });
      const outside = { fetch, now: () => new Date(), timeoutMs: 1000 };
      await expect(discoverBroker(broker.url, outside)).rejects.toMatchObject({ name: 'ClientError' });
    },
  );
});

describe("a broker's answers", () => {
  it('are read into values', async () => {
    broker.knobs.details['build-01'] = {
      host: { id: 'build-01', state: 'enabled', logins: ['beacon'], labels: { a: 'b' }, pools: [] },
      commands: [
        {
          command: 'app.pull',
          summary: 'Pull',
          login: 'beacon',
          params: { ref: { pattern: '[a-z]+' }, token: { pattern: '.+', secret: true } },
          timeout_seconds: 60,
          offered: 'host',
          allowed: 'no',
          reason: { code: 'no-policy', text: 'no policy allows it' },
          missing: [{ kind: 'team', id: '7' }],
        },
      ],
      procedures: [
        {
          name: 'deploy',
          summary: 'Deploy',
          params: { ref: { required: true } },
          steps: ['app.pull'],
          allowed: 'depends',
        },
      ],
    };
    expect(await api.host('build-01')).toMatchObject({
      commands: [
        { params: { ref: { secret: false }, token: { secret: true } }, allowed: 'no', undo: undefined },
      ],
      procedures: [
        { params: { ref: { required: true, secret: false } }, allowed: 'depends', reason: undefined },
      ],
    });
    expect(await api.hosts()).toEqual([
      { id: 'build-01', state: 'enabled', logins: ['beacon'], labels: {}, pools: ['ci'] },
    ]);
    expect(await api.places('build-01')).toMatchObject([{ scope: 'acme/web', mayAdd: true }]);
    expect(await api.runners('build-01', 'acme/web')).toMatchObject([{ name: 'r1', github: undefined }]);
    const { run, isNew } = await api.createRun(ORDER);
    expect(isNew).toBe(true);
    expect(await api.run(run.id)).toEqual(run);
    expect(await api.runs({ host: 'build-01', limit: '5' })).toEqual([run]);
    expect(await api.runs({ phase: 'failed' })).toEqual([]);
    await expect(api.run('../hosts')).rejects.toMatchObject({ code: 'name-malformed' });
    await expect(api.run('01jd8z0000abcdefghjkmnpqrs')).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('to an order that was lost are asked for again, and it is one run', async () => {
    let lost = 2;
    broker.knobs.intercept = (request) => {
      if (request.method !== 'POST' || lost-- <= 0) return false;
      request.socket.destroy();
      return true;
    };
    const first = await api.createRun(ORDER, 'key-1');
    const again = await api.createRun(ORDER, 'key-1');
    expect([first.isNew, again.isNew]).toEqual([true, false]);
    expect(again.run.id).toBe(first.run.id);
    expect(broker.orders).toHaveLength(1);
    await expect(api.createRun({ ...ORDER, params: {} }, 'key-1')).rejects.toMatchObject({
      problem: { code: 'idempotency-conflict' },
    });
  });

  it('to what a person presses carry secrets in the body alone', async () => {
    const { run } = await api.createRun({ ...ORDER, secrets: { token: 'hunter2' } });
    broker.change(run.id, { phase: 'interrupted', possible: ['resume'] });
    await api.wish(run.id, 'resume', { token: 'hunter2' });
    expect(broker.wishes).toEqual([{ wish: 'resume', secrets: { token: 'hunter2' } }]);
    expect(broker.requests.join()).not.toContain('hunter2');
    await expect(api.wish(run.id, 'undo')).rejects.toMatchObject({ problem: { code: 'wish-refused' } });
  });
});

describe('the events of a run', () => {
  let id: string;
  beforeEach(async () => {
    id = (await api.createRun(ORDER)).run.id;
    broker.requests.length = 0;
    broker.lastIds.length = 0;
  });
  const seqs = (events: readonly RunEvent[]) => events.map(({ seq }) => seq);

  it('come live until the run is over, and again from the beginning when it is', async () => {
    const live = collect(api.events(id));
    broker.say(id, 'phase', { attempt: 1, phase: 'running' });
    broker.say(id, 'stdout', { step: 0, text: 'hello\n' });
    broker.say(id, 'over', { phase: 'succeeded', left: [] });
    expect(await live).toEqual(await collect(api.events(id)));
    expect(await live).toMatchObject([
      { seq: 1, kind: 'phase' },
      { seq: 2, kind: 'stdout', data: { text: 'hello\n' } },
      { seq: 3, kind: 'over' },
    ]);
    expect(seqs(await collect(api.events(id, { after: 2 })))).toEqual([3]);
  });

  it('are neither lost nor doubled over streams that are cut at any place', async () => {
    for (let n = 1; n <= 40; n++) broker.say(id, 'stdout', { step: 0, text: `line ${n}\n` });
    broker.say(id, 'over', { phase: 'succeeded', left: [] });
    let bytes = 0;
    broker.knobs.intercept = (request, response) => {
      if (!request.url?.endsWith('/events')) return false;
      // Each stream is cut a little later than the one before, in the middle of an event.
      bytes += 61;
      const most = bytes;
      let sent = 0;
      const { write } = response;
      response.write = ((text: string) => {
        if (sent + text.length > most) {
          write.call(response, text.slice(0, Math.max(0, most - sent)), 'utf8');
          setImmediate(() => response.destroy());
          return false;
        }
        sent += text.length;
        return write.call(response, text, 'utf8');
      }) as typeof response.write;
      return false;
    };
    const events = await collect((await open({ attempts: 10 })).events(id));
    expect(seqs(events)).toEqual(Array.from({ length: 41 }, (_, at) => at + 1));
    expect(broker.lastIds.length).toBeGreaterThan(5);
  });

  it('that a server sends twice are given once', async () => {
    broker.say(id, 'note', { text: 'a' });
    broker.say(id, 'over', { phase: 'failed', left: [] });
    broker.knobs.wire = (text) => text + text;
    expect(seqs(await collect(api.events(id)))).toEqual([1, 2]);
  });

  it('are asked for again when nothing comes any more, not even a sign of life', async () => {
    broker.say(id, 'note', { text: 'a' });
    const lost: string[] = [];
    const quiet = await open({ silenceMs: 30, attempts: 100 });
    const following = collect(
      quiet.events(id, {
        onLost: (error) => {
          lost.push(error.code);
          if (lost.length === 2) broker.say(id, 'over', { phase: 'succeeded', left: [] });
        },
      }),
    );
    expect(seqs(await following)).toEqual([1, 2]);
    expect(lost).toEqual(['unreachable', 'unreachable']);
    expect(broker.lastIds).toEqual(['0', '1', '1']);
  });

  it('are asked for with another token when the old one has ended', async () => {
    const iterator = api.events(id)[Symbol.asyncIterator]();
    broker.say(id, 'note', { text: 'a' });
    expect((await iterator.next()).value).toMatchObject({ seq: 1 });
    ca.knobs.accessTokenSeconds = 600;
    for (const token of broker.tokens) Object.assign(ca.findToken(token) ?? {}, { expiresAt: 0 });
    const next = iterator.next();
    broker.drop();
    broker.say(id, 'over', { phase: 'succeeded', left: [] });
    expect((await next).value).toMatchObject({ seq: 2 });
    expect(broker.tokens.size).toBe(2);
    await iterator.return?.();
  });

  it('are given up after a bounded number of failures, and at once when the server says no', async () => {
    broker.knobs.intercept = (request) => {
      request.socket.destroy();
      return true;
    };
    await expect(collect(api.events(id))).rejects.toMatchObject({ code: 'unreachable' });
    expect(broker.requests).toHaveLength(4);
    broker.knobs.intercept = () => false;
    broker.requests.length = 0;
    await expect(collect(api.events('01jd8z0000abcdefghjkmnpqrs'))).rejects.toMatchObject({
      code: 'refused',
      kind: 'not-found',
    });
    expect(broker.requests).toHaveLength(1);
  });

  it('stop when the watcher does, and leave nothing open', async () => {
    const stop = new AbortController();
    const following = collect(api.events(id, { signal: stop.signal }));
    broker.say(id, 'note', { text: 'a' });
    setTimeout(() => stop.abort(), 20);
    await expect(following).rejects.toMatchObject({ code: 'aborted' });
    for await (const event of api.events(id)) {
      expect(event.seq).toBe(1);
      break;
    }
  });

  it.each([
    ['an unknown kind', (text: string) => text.replace('event: note', 'event: other')],
    ['no time', (text: string) => text.replace('"time"', '"thyme"')],
    ['no number', (text: string) => text.replace('id: 1', 'id: x')],
    ['no JSON', (text: string) => text.replace('data: {', 'data: {{')],
  ])('are refused with %s', async (_what, wire) => {
    broker.knobs.wire = wire;
    broker.say(id, 'note', { text: 'a' });
    await expect(collect(api.events(id))).rejects.toMatchObject({ code: 'answer-malformed' });
  });
});
