/** What a run does when others are late, absent or deny, and when the person changes their mind; with secrets in its hands. */

import { ClientError } from '@beacon/client';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ThrowAwayCa } from '../../../infra/lab/throw-away-ca.ts';
import { BrokerError, type RunLogEntry } from '../src/index.ts';
import { RunDraft } from '../src/run-draft.ts';
import { ScriptedHost } from './scripted-host.ts';
import {
  type Engine,
  HOST,
  logOf,
  openRuns,
  openStore,
  orderOf,
  resting,
  SmallCa,
  textOf,
} from './small-broker.ts';

const now = () => new Date();
const put = { command: 'put', undo: { command: 'undo-put', params: {} } };
const configure = {
  command: 'configure',
  preparation: 'register' as const,
  params: { name: 'runner-1' },
  secretNames: ['token'],
  undo: { command: 'undo-configure', params: { name: 'runner-1' } },
};
const provision = orderOf([put, configure], {
  kind: 'procedure',
  github: { scope: 'o/r', runner: 'runner-1' },
});

let host: ScriptedHost;
let ca: SmallCa;
let engine: Engine;

beforeEach(async () => {
  host = new ScriptedHost();
  ca = new SmallCa(new ThrowAwayCa({ host: HOST, login: 'beacon' }, now));
  const store = await openStore({ file: ':memory:' });
  engine = openRuns(store, { dial: host.dial, github: host.github, now });
});

afterEach(async () => {
  await engine.runs.close();
  await engine.commit.close();
  await engine.store.destroy();
});

async function begun(command: string): Promise<void> {
  while (!host.started.some(({ asked }) => asked.command === command))
    await new Promise((resolve) => setImmediate(resolve));
}

/** Something that is asked and not answered until the test says so. */
function late(): {
  readonly answer: () => void;
  readonly asked: Promise<void>;
  readonly wait: () => Promise<void>;
} {
  const asked = Promise.withResolvers<void>();
  const answered = Promise.withResolvers<void>();
  return {
    answer: answered.resolve,
    asked: asked.promise,
    wait: () => {
      asked.resolve();
      return answered.promise;
    },
  };
}

const isOutput = ({ kind }: RunLogEntry): boolean => kind === 'stdout';

describe('a run', () => {
  it('is cancelled while the CA has not answered, and what it answers afterwards is not used', async () => {
    const slow = late();
    ca.behaviour.certify = slow.wait;
    const { run } = await engine.runs.create(orderOf([put]), ca.caller(), {});
    await slow.asked;
    await engine.runs.wish(run.id, 'cancel', ca.caller());
    expect((await resting(engine.runs, run.id)).state).toMatchObject({ phase: 'cancelled' });
    slow.answer();
    expect(host.sessions).toBe(0);
  });

  it('is cancelled while it connects, and leaves a session that opens all the same', async () => {
    const slow = late();
    host.beforeHello = slow.wait;
    const { run } = await engine.runs.create(orderOf([put]), ca.caller(), {});
    await slow.asked;
    await engine.runs.wish(run.id, 'cancel', ca.caller());
    slow.answer();
    expect((await resting(engine.runs, run.id)).state).toMatchObject({ phase: 'cancelled' });
    expect(host.requests).toEqual([]);
  });

  it('is cancelled while a command runs: the host stops it and takes back, newest first', async () => {
    host.behave = (command) => (command === 'start' ? { hangs: true, output: ['on it'] } : {});
    const start = { command: 'start', undo: { command: 'undo-start', params: {} } };
    const { run } = await engine.runs.create(orderOf([put, start]), ca.caller(), {});
    await logOf(engine.runs, run.id, isOutput);
    const wishes = [1, 2, 3].map(() => engine.runs.wish(run.id, 'cancel', ca.caller()));
    const answers = await Promise.allSettled(wishes);
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected']);
    expect(answers[1]).toMatchObject({ reason: { code: 'wish-refused' } });
    const { state } = await resting(engine.runs, run.id);
    expect(state).toMatchObject({
      phase: 'cancelled',
      steps: [{ outcome: 'undone' }, { outcome: 'undone' }],
    });
    expect(host.inForce).toEqual([]);
  });

  it('is denied before anything is made anywhere, with the reason of policy', async () => {
    ca.behaviour.decide = async () => ({ allowed: false, reason: 'only on Tuesdays' });
    const { run } = await engine.runs.create(provision, ca.caller(), {});
    const { state } = await resting(engine.runs, run.id);
    expect(state).toMatchObject({
      phase: 'denied',
      end: { reason: expect.stringMatching(/^only on Tuesdays .*ask an administrator/) },
    });
    expect(ca.asked).toEqual(['decide put configure']);
    expect(host.sessions).toBe(0);
  });

  it('is denied with the same reason where nothing is made at GitHub, and asks for the certificate alone', async () => {
    const problem = { code: 'policy-denied', detail: 'only on Tuesdays', id: 'x' };
    ca.behaviour.certify = () =>
      Promise.reject(new ClientError('refused', 'denied', 'only on Tuesdays', { problem }));
    const { run } = await engine.runs.create(orderOf([put]), ca.caller(), {});
    const { state } = await resting(engine.runs, run.id);
    expect(state).toMatchObject({
      phase: 'denied',
      end: { reason: expect.stringMatching(/^only on Tuesdays .*ask an administrator/) },
    });
    expect(ca.asked).toEqual(['certify put']);
    expect(host.sessions).toBe(0);
  });

  it('fails where the host cannot be reached, and says what the dialer says', async () => {
    host.unreachable = () => new BrokerError('host-unreachable', 'nobody answers there: is it on?');
    const { run } = await engine.runs.create(orderOf([put]), ca.caller(), {});
    const { state, left } = await resting(engine.runs, run.id);
    expect(state).toMatchObject({ phase: 'failed', end: { reason: 'nobody answers there: is it on?' } });
    expect(left).toEqual([]);
  });

  it('finishes what was granted when the person logs out, then says why it goes no further; what no host was asked to register is not there', async () => {
    const over = new ClientError('session-ended', 'unauthenticated', 'your session has ended: log in again');
    let granted = 0;
    ca.behaviour.certify = () => (++granted > 1 ? Promise.reject(over) : Promise.resolve());
    const { run } = await engine.runs.create(provision, ca.caller(), {});
    const { state, left } = await resting(engine.runs, run.id);
    expect(state).toMatchObject({ phase: 'failed', github: 'nothing', end: { reason: over.message } });
    expect(state.steps.map(({ outcome }) => outcome)).toEqual(['undone', 'waiting']);
    expect(left).toEqual([]);
    const entries = await logOf(engine.runs, run.id);
    expect(entries.at(-1)).toMatchObject({ kind: 'over', data: { left } });
  });

  it('goes on with the newer credentials of the same login', async () => {
    const slow = late();
    ca.behaviour.decide = async () => {
      await slow.wait();
      return { allowed: true, reason: 'yes' };
    };
    const old = ca.caller('one');
    const { run } = await engine.runs.create(provision, old, {});
    await slow.asked;
    const other = new SmallCa(new ThrowAwayCa({ host: HOST, login: 'beacon' }, now));
    engine.runs.refresh(other.caller('another'));
    engine.runs.refresh(other.caller('one'));
    slow.answer();
    expect((await resting(engine.runs, run.id)).state.phase).toBe('succeeded');
    expect([ca.asked, other.asked]).toEqual([
      ['decide put configure'],
      ['certify put', 'token', 'certify configure'],
    ]);
  });

  it('names by its reason what the host could not take back', async () => {
    host.behave = (command) => (command === 'undo-put' || command === 'bad' ? { code: 1 } : {});
    const { run } = await engine.runs.create(orderOf([put, { command: 'bad' }]), ca.caller(), {});
    const { state, left } = await resting(engine.runs, run.id);
    expect(state).toMatchObject({ phase: 'failed', steps: [{ outcome: 'left' }, { outcome: 'failed' }] });
    expect(left).toEqual([
      'put on build-01 was not taken back (it could not be): run undo-put there with the same parameters',
    ]);
  });

  it('is lost after a command ended that nobody heard of; the host is asked, and it is taken back once', async () => {
    host.behave = (command) => (command === 'put' ? { loses: 'after' } : {});
    const { run } = await engine.runs.create(orderOf([put, { command: 'look' }]), ca.caller(), {});
    const lost = await resting(engine.runs, run.id);
    expect(lost.state).toMatchObject({
      phase: 'interrupted',
      steps: [{ outcome: 'unknown' }, { outcome: 'waiting' }],
    });
    await expect(engine.runs.wish(run.id, 'resume', ca.caller())).rejects.toMatchObject({
      code: 'wish-refused',
    });
    await engine.runs.wish(run.id, 'look', ca.caller());
    const seen = await resting(engine.runs, run.id);
    expect(seen.state.steps.map(({ outcome }) => outcome)).toEqual(['undone', 'waiting']);
    host.behave = () => ({});
    await engine.runs.wish(run.id, 'resume', ca.caller());
    expect((await resting(engine.runs, run.id)).state).toMatchObject({ phase: 'succeeded', attempt: 2 });
    expect(host.started.map(({ asked }) => asked.command)).toEqual(['put', 'put', 'look']);
  });

  it('takes back on a host that has not, when the person says so', async () => {
    host.behave = (command) => (command === 'look' ? { loses: 'before' } : {});
    host.undoes = false;
    const { run } = await engine.runs.create(orderOf([put, { command: 'look' }]), ca.caller(), {});
    await resting(engine.runs, run.id);
    host.behave = () => ({});
    await engine.runs.wish(run.id, 'undo', ca.caller());
    const { state, grants } = await resting(engine.runs, run.id);
    expect(state).toMatchObject({
      phase: 'cancelled',
      // Of what cannot be taken back nobody has to know.
      steps: [{ outcome: 'undone' }, { outcome: 'unknown' }],
    });
    expect(grants.map(({ purpose }) => purpose)).toEqual(['steps', 'look', 'undo']);
    expect(host.inForce).toEqual([]);
  });

  it('gives up an undo that hangs when the person cancels it, names what it leaves, and still asks GitHub', async () => {
    host.behave = (command) => ({ hangs: command === 'look' || command === 'undo-put' });
    host.undoes = false;
    const order = orderOf([put, configure, { command: 'look' }], {
      github: { scope: 'o/r', runner: 'runner-1' },
    });
    const { run } = await engine.runs.create(order, ca.caller(), {});
    await begun('look');
    host.cut();
    await resting(engine.runs, run.id);
    await engine.runs.wish(run.id, 'undo', ca.caller());
    await begun('undo-put');
    await engine.runs.wish(run.id, 'cancel', ca.caller());
    const { state, left } = await resting(engine.runs, run.id);
    expect(state).toMatchObject({
      phase: 'cancelled',
      steps: [{ outcome: 'left' }, { outcome: 'undone' }, { outcome: 'unknown' }],
      github: 'removed',
      end: { reason: 'the person cancelled the undo before it had ended' },
    });
    expect(left).toEqual(['put on build-01 was not taken back: run undo-put there with the same parameters']);
    expect(host.runners.size).toBe(0);
  });
});

describe('secrets of a run', () => {
  const order = orderOf([{ command: 'login', secretNames: ['password'] }]);
  const secrets = { password: 'correct horse battery' };

  it('L7: reach the host, and neither the store nor the log, also where a command prints them in pieces', async () => {
    host.behave = () => ({ output: ['it is cor', 'rect horse bat', 'tery! or correct', ' horses'] });
    const { run } = await engine.runs.create(order, ca.caller(), secrets);
    await resting(engine.runs, run.id);
    expect(host.secrets).toEqual([secrets.password]);
    expect(textOf(await logOf(engine.runs, run.id))).toBe('it is [redacted]! or correct horses');
    for (const table of ['runs', 'run_log', 'records'] as const) {
      const rows = JSON.stringify(await engine.store.selectFrom(table).selectAll().execute());
      expect(rows).not.toMatch(/horse battery/);
    }
  });

  it('are asked for again when a run is resumed', async () => {
    host.behave = () => ({ loses: 'before' });
    const { run } = await engine.runs.create(order, ca.caller(), secrets);
    await resting(engine.runs, run.id);
    host.behave = () => ({});
    await engine.runs.wish(run.id, 'look', ca.caller());
    await resting(engine.runs, run.id);
    await engine.runs.wish(run.id, 'resume', ca.caller(), { password: 'another' });
    expect((await resting(engine.runs, run.id)).state.phase).toBe('succeeded');
    expect(host.secrets).toEqual(['another']);
  });

  it('end a run that was not given them', async () => {
    const { run } = await engine.runs.create(order, ca.caller(), {});
    const { state } = await resting(engine.runs, run.id);
    expect(state).toMatchObject({
      phase: 'failed',
      end: { reason: expect.stringContaining('the secret password') },
    });
    expect(host.sessions).toBe(0);
  });

  it('from GitHub are made only when their step comes, and their token is nowhere afterwards', async () => {
    const { run } = await engine.runs.create(provision, ca.caller(), {});
    const { state } = await resting(engine.runs, run.id);
    expect(state).toMatchObject({ phase: 'succeeded', github: 'kept' });
    expect(ca.asked).toEqual(['decide put configure', 'certify put', 'token', 'certify configure']);
    const rows = JSON.stringify(await engine.store.selectFrom('run_log').selectAll().execute());
    expect(rows).not.toMatch(/token-of-the-person|registration-/);
  });
});

describe('the output of a run', () => {
  it('is cut at its bound, and said to be', async () => {
    const bound = { inWork: 10, inWorkPerPerson: 10, outputBytes: 20_000 };
    const bounded = openRuns(engine.store, { dial: host.dial, github: host.github, now, limits: bound });
    host.behave = () => ({ output: Array.from({ length: 50 }, () => 'ä'.repeat(500)) });
    const { run } = await bounded.runs.create(orderOf([put]), ca.caller(), {});
    const entries = await logOf(bounded.runs, run.id);
    expect(Buffer.byteLength(textOf(entries))).toBe(20_000);
    expect(entries.filter(({ kind }) => kind === 'truncated')).toMatchObject([
      { data: { step: 0, max_output_bytes: 20_000 } },
    ]);
    expect(entries.filter(isOutput).every(({ data }) => String(data['text']).length <= 8_192)).toBe(true);
    await bounded.runs.close();
  });

  it.each([
    ['of one byte each', Buffer.from('x')],
    ['that are no text', Buffer.from([0xff])],
  ])('R6: is cut where it comes in too many pieces %s, for each costs a row', async (_, piece) => {
    host.behave = () => ({ hangs: true });
    const { run } = await engine.runs.create(orderOf([put]), ca.caller(), {});
    await begun('put');
    const draft = new RunDraft(run, now(), new Map());
    const bound = { maxBytes: 64 * 300, bytes: 0, entries: 0 };
    for (let at = 0; at < 1_000; at += 1) draft.output(at % 2 === 0 ? 'stdout' : 'stderr', 0, piece, bound);
    expect(draft.entries).toHaveLength(301);
    expect(draft.entries.at(-1)).toMatchObject({ kind: 'truncated', data: { reason: expect.any(String) } });
  });

  it('R6: is not taken from a host faster than it is written down, however small the pieces', async () => {
    const resumed = Promise.withResolvers<void>();
    let isStuck = false;
    const write: Engine['commit']['write'] = async (unit) => {
      if (isStuck) await resumed.promise;
      return engine.commit.write(unit);
    };
    const commit = { ...engine.commit, latest: undefined, write };
    const slow = openRuns(engine.store, { dial: host.dial, github: host.github, now, commit });
    host.behave = () => {
      isStuck = true;
      return { output: Array.from({ length: 20_000 }, () => '') };
    };
    const { run } = await slow.runs.create(orderOf([put]), ca.caller(), {});
    await begun('put');
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(host.unread).toBeGreaterThan(18_000);
    isStuck = false;
    resumed.resolve();
    expect((await resting(slow.runs, run.id)).state.phase).toBe('succeeded');
    await slow.runs.close();
  });

  it('is shown from where a watcher left it, to many at once, the slow ones too', async () => {
    host.behave = () => ({ output: Array.from({ length: 400 }, (_, at) => `${at} ${'x'.repeat(8_000)}\n`) });
    const { run } = await engine.runs.create(orderOf([put]), ca.caller(), {});
    const watch = async (after: number, pauseEvery: number): Promise<readonly number[]> => {
      const seen: number[] = [];
      for await (const { seq } of engine.runs.events(run.id, after, new AbortController().signal)) {
        seen.push(seq);
        if (seq % pauseEvery === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      }
      return seen;
    };
    const seen = await Promise.all(Array.from({ length: 60 }, (_, at) => watch(at, 1 + (at % 40))));
    const last = (await engine.runs.get(run.id))?.lastEvent ?? 0;
    expect(last).toBeGreaterThan(400);
    for (const [after, seqs] of seen.entries()) {
      expect(seqs).toEqual(Array.from({ length: last - after }, (_, at) => after + 1 + at));
    }
    expect(await watch(last, 1)).toEqual([]);
  });

  it('leaves a watcher alone whose signal was aborted', async () => {
    host.behave = () => ({ hangs: true });
    const { run } = await engine.runs.create(orderOf([put]), ca.caller(), {});
    const leaving = new AbortController();
    const seen: number[] = [];
    for await (const { seq, kind } of engine.runs.events(run.id, 0, leaving.signal)) {
      seen.push(seq);
      if (kind === 'step') leaving.abort();
    }
    expect(seen.length).toBeGreaterThan(0);
  });
});

describe('many runs', () => {
  it('R5: belong to their persons: nobody else can wish anything of one, in work or not', async () => {
    host.behave = () => ({ hangs: true });
    const { run } = await engine.runs.create(orderOf([put]), ca.caller(), {});
    await logOf(engine.runs, run.id, ({ data }) => data['outcome'] === 'started');
    const mallory = { ...ca.caller(), person: 'github:666' };
    const cancel = () => engine.runs.wish(run.id, 'cancel', mallory);
    await expect(cancel()).rejects.toMatchObject({ code: 'run-unknown' });
    host.cut();
    await resting(engine.runs, run.id);
    await expect(engine.runs.wish(run.id, 'undo', mallory)).rejects.toMatchObject({ code: 'run-unknown' });
    expect((await engine.runs.get(run.id))?.state.phase).toBe('interrupted');
  });

  it('tell the CA at their end how far the records of their hosts go', async () => {
    const { run } = await engine.runs.create(orderOf([put]), ca.caller(), {});
    await resting(engine.runs, run.id);
    while (ca.reported.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(ca.reported).toEqual([HOST]);
  });

  it('go on side by side on one host', async () => {
    const made = await Promise.all(
      Array.from({ length: 40 }, () => engine.runs.create(orderOf([{ command: 'look' }]), ca.caller(), {})),
    );
    const ended = await Promise.all(made.map(({ run }) => resting(engine.runs, run.id)));
    expect(new Set(ended.map(({ state }) => state.phase))).toEqual(new Set(['succeeded']));
    expect(host.started).toHaveLength(40);
  });

  it('may end when the broker stops, which takes no new ones; what has not ended is written down as interrupted', async () => {
    const signal = new AbortController();
    host.behave = (command) => ({ hangs: command === 'put' });
    const { run } = await engine.runs.create(orderOf([put]), ca.caller(), {});
    await begun('put');
    const drained = engine.runs.drain(60_000, signal.signal);
    expect(engine.runs.isStopping).toBe(true);
    await expect(engine.runs.create(orderOf([put]), ca.caller(), {})).rejects.toMatchObject({
      code: 'stopping',
      retryAfterMs: expect.any(Number),
    });
    expect((await engine.runs.get(run.id))?.state.phase).toBe('running');
    signal.abort();
    expect(await drained).toBe(1);
    expect((await engine.runs.get(run.id))?.state).toMatchObject({
      phase: 'interrupted',
      end: { reason: 'Beacon was stopped while the run was in work' },
    });
    expect(host.inForce).toEqual([]);
    await expect(engine.runs.wish(run.id, 'undo', ca.caller())).rejects.toMatchObject({ code: 'stopping' });
  });

  it('are refused beyond what one person may have in work', async () => {
    const limits = { inWork: 10, inWorkPerPerson: 2, outputBytes: 1_000 };
    const bounded = openRuns(engine.store, { dial: host.dial, github: host.github, now, limits });
    host.behave = () => ({ hangs: true });
    const one = () => bounded.runs.create(orderOf([put]), ca.caller(), {});
    const { run } = await one();
    await one();
    await expect(one()).rejects.toMatchObject({ code: 'too-many-runs' });
    await logOf(bounded.runs, run.id, ({ data }) => data['outcome'] === 'started');
    await bounded.runs.wish(run.id, 'cancel', ca.caller());
    await resting(bounded.runs, run.id);
    await one();
    await bounded.runs.close();
  });

  it.each([
    ['one person', { inWork: 10, inWorkPerPerson: 2, outputBytes: 1_000 }],
    ['all', { inWork: 2, inWorkPerPerson: 10, outputBytes: 1_000 }],
  ])('are refused beyond what %s may have in work, when they come at once too', async (_, limits) => {
    const bounded = openRuns(engine.store, { dial: host.dial, github: host.github, now, limits });
    host.behave = () => ({ hangs: true });
    const order = orderOf([put], { idempotencyKey: 'first' });
    const first = await bounded.runs.create(order, ca.caller(), {});
    const asked = Array.from({ length: 6 }, () => bounded.runs.create(orderOf([put]), ca.caller(), {}));
    const answers = await Promise.allSettled(asked);
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await bounded.runs.wish(first.run.id, 'cancel', ca.caller());
    await resting(bounded.runs, first.run.id);
    // A key that is known takes up no room.
    expect((await bounded.runs.create(order, ca.caller(), {})).isNew).toBe(false);
    expect((await bounded.runs.create(orderOf([put]), ca.caller(), {})).isNew).toBe(true);
    await bounded.runs.close();
  });
});
