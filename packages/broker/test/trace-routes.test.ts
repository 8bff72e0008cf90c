/** The trace of a run where the host lies or does not answer: what broker and CA wrote is shown all the same. */
import type { CaApi } from '@beacon/client';
import type { Trace } from '@beacon/protocol/http/trace';
import { createRecords } from '@beacon/server';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ThrowAwayCa } from '../../../infra/lab/throw-away-ca.ts';
import type { BrokerCaller } from '../src/define-route.ts';
import { programDoor } from '../src/door.ts';
import { traceRoutes } from '../src/trace-routes.ts';
import { ScriptedHost } from './scripted-host.ts';
import { type Engine, HOST, logOf, openRuns, openStore, orderOf, PERSON, SmallCa } from './small-broker.ts';

const now = () => new Date();

describe('the trace of a run', () => {
  let host: ScriptedHost;
  let engine: Engine;
  let caller: BrokerCaller;
  let run: string;

  beforeEach(async () => {
    host = new ScriptedHost();
    const ca = new SmallCa(new ThrowAwayCa({ host: HOST, login: 'beacon' }, now));
    engine = openRuns(await openStore({ file: ':memory:' }), { dial: host.dial, now });
    const login = ca.caller();
    const api = { ...login.api, records: async () => ({ records: [] }) } as unknown as CaApi;
    caller = {
      person: PERSON,
      sessionKey: 'session',
      client: undefined,
      api,
      goodUntil: now(),
      isStillThere: async () => true,
    };
    const { run: made } = await engine.runs.create(orderOf([{ command: 'put' }]), login, {});
    run = made.id;
    await logOf(engine.runs, run);
  });

  afterEach(async () => {
    await engine.runs.close();
    await engine.commit.close();
    await engine.store.destroy();
  });

  async function trace(signal: AbortSignal = new AbortController().signal): Promise<Trace> {
    const { runs, store, commit } = engine;
    const records = createRecords({ chain: 'broker', now });
    const [route] = traceRoutes({ runs, store, commit, records, dial: host.dial, now }, programDoor);
    const input = { params: { id: run }, caller, signal } as unknown as Parameters<
      NonNullable<typeof route>['handle']
    >[0];
    const answer = await route?.handle(input);
    return (answer as { body: Trace }).body;
  }

  it('L2: names a line of the host that is no record, and shows the others all the same', async () => {
    host.behave = (command) => (command === 'gate.records' ? { output: ['{"v":1,"seq":\n', 'x\n'] } : {});
    const { lines, findings, missing } = await trace();
    expect(lines.map(({ chain, kind }) => `${chain} ${kind}`)).toEqual(
      expect.arrayContaining(['broker run-created', 'broker step-succeeded']),
    );
    expect(lines.filter(({ chain }) => chain === 'host')).toEqual([]);
    expect(findings.filter(({ code }) => code === 'record-malformed')).toHaveLength(2);
    expect(missing).toEqual([]);
  });

  it('leaves a host that does not answer when nobody waits for it any more', async () => {
    const before = host.open;
    const gone = new AbortController();
    host.behave = (command) => {
      if (command !== 'gate.records') return {};
      setImmediate(() => gone.abort());
      return { hangs: true };
    };
    const { missing } = await trace(gone.signal);
    expect(missing.map(({ chain }) => chain)).toEqual(['host']);
    expect(host.open).toBe(before);
  });
});
