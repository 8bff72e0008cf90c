/**
 * Runs on one host of the lab, each broken in one way at a random moment. Every run is three commands with an undo each,
 * the last of which leaves a process behind in a session of its own and hangs.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { GateEvent } from '@beacon/protocol/gate-event';
import { parseRecord, type RecordFields } from '@beacon/protocol/record';
import { GateConnection } from '../lab/gate-connection.ts';
import type { GateHost } from '../lab/gate-host.ts';
import { GATE_PROCESS } from '../lab/init-host.ts';
import { type Asked, invocation } from '../lab/throw-away-ca.ts';
import { type Evidence, judge } from './judge.ts';

export const FAULTS = ['lost', 'cancelled', 'failed', 'killed', 'killed-alone', 'revoked', 'none'] as const;
/**
 * `lost`: the client is killed. `failed`: the last command ends badly. `killed`: the gate is, by SIGKILL. `killed-alone`:
 * its watcher too, so that only a recovery by hand is left. `none`: nothing breaks, and the client says `end`.
 */
export type Fault = (typeof FAULTS)[number];

export interface FaultOutcome {
  readonly fault: Fault;
  readonly afterMs: number;
  readonly started: number;
  readonly undone: number;
  readonly left: number;
  readonly findings: readonly string[];
}

const TRACE = '/var/tmp/trace';
/** The last moment at which it still makes sense to break a run. */
export const LONGEST_MS = 2_500;
const STEPS = 3;
const SETTLE_MS = 40_000;
/** What the watcher that a gate leaves behind is called. */
const WATCHER = '^/bin/sh -c read -r word';

/** Lays the commands of the runs on the host. */
export async function prepare(host: GateHost): Promise<void> {
  await host.script(`install -m 666 /dev/null ${TRACE}`);
  const plain = { summary: 'for a fault', timeout_seconds: 60, run_as: 'beacon-setup' };
  const name = { name: { pattern: '[a-z0-9-]{1,60}' } };
  const one = async (command: string, body: string, undo?: string) => ({
    ...plain,
    argv: [await host.command(command, body), '{name}'],
    params: name,
    ...(undo === undefined ? {} : { undo }),
  });
  await host.allow({
    version: 1,
    commands: {
      make: await one('make', `echo "make $1" >>${TRACE}`, 'unmake'),
      hang: await one('hang', `echo "make $1" >>${TRACE}; setsid sleep 4300 & exec sleep 4300`, 'unmake'),
      fail: await one('fail', `echo "make $1" >>${TRACE}; setsid sleep 4300 & exit 3`, 'unmake'),
      unmake: await one('unmake', `echo "unmake $1" >>${TRACE}`),
    },
  });
}

/** So many milliseconds after the client has begun to connect, or as soon as the last command is said to have started. */
export type Moment = number | 'last-started';

/** Begins a run, breaks it at that moment, waits until the host has settled it, and judges what is left. */
export async function breakOne(
  host: GateHost,
  fault: Fault,
  number: number,
  moment: Moment,
): Promise<FaultOutcome> {
  const last = fault === 'failed' ? 'fail' : fault === 'none' ? 'make' : 'hang';
  const run = (['make', 'make', last] as const).map((command, step): Asked => {
    const params = { name: `${number}-${step}` };
    return { asked: invocation(command, params), undo: invocation('unmake', params) };
  });
  const certified = await host.ca.certify(run);
  const connection = await GateConnection.open(host.target, certified);
  const done = work(connection, run, fault === 'none').catch(() => undefined);
  const begin = performance.now();
  if (fault !== 'failed' && fault !== 'none') await until(moment, connection);
  const afterMs = Math.round(performance.now() - begin);
  switch (fault) {
    case 'lost':
      await connection.kill();
      break;
    case 'cancelled':
      connection.send({ kind: 'cancel' });
      break;
    case 'killed':
    case 'killed-alone':
      await killGate(host, fault === 'killed-alone');
      if (fault === 'killed-alone') await host.lab.run(['/usr/lib/beacon/gate', 'recover']);
      break;
    case 'revoked':
      await host.publish({ revoked: [certified.serial] });
      break;
    case 'failed':
    case 'none':
  }
  await done;
  if (fault === 'failed') connection.send({ kind: 'end' });
  await Promise.race([connection.ended, sleep(SETTLE_MS)]);
  await connection.kill();
  const evidence = await settle(host, certified.grant.grant, number, connection);
  const count = (kind: string): number => evidence.records.filter((record) => record.kind === kind).length;
  return {
    fault,
    afterMs,
    started: count('command-started'),
    undone: count('undo-ended'),
    left: count('undo-left'),
    findings: judge(evidence),
  };
}

async function until(moment: Moment, connection: GateConnection): Promise<void> {
  if (moment !== 'last-started') return sleep(moment);
  let count = 0;
  await connection.find((event): event is GateEvent => event.event === 'started' && ++count === STEPS);
}

/** As soon as there is a gate: a moment may come before it has started. */
async function killGate(host: GateHost, withWatcher: boolean): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (withWatcher) await host.lab.exec(['pkill', '-KILL', '-f', WATCHER]);
    if ((await host.lab.exec(['pkill', '-KILL', '-f', GATE_PROCESS])).status === 0) return;
    await sleep(50);
  }
}

/** The client's side: one command after another; after the last it says `end` where it may keep what was done. */
async function work(connection: GateConnection, run: readonly Asked[], mayKeep: boolean): Promise<void> {
  for (const asked of run) await connection.run(asked);
  if (mayKeep) connection.send({ kind: 'end' });
}

/** Waits until the host says that the run is over, but not for ever. */
async function settle(
  host: GateHost,
  grant: string,
  number: number,
  connection: GateConnection,
): Promise<Evidence> {
  for (const begin = performance.now(); ; await sleep(100)) {
    const records = (await readRecords(host)).filter((record) => record.grant === grant);
    const isOver =
      records.at(-1)?.kind === 'session-closed' || !records.some(({ kind }) => kind === 'command-started');
    const gates = (await host.lab.exec(['pgrep', '-f', `${GATE_PROCESS}|${WATCHER}|gate recover$`])).stdout;
    if (!(isOver && gates === '') && performance.now() - begin < SETTLE_MS) continue;
    const trace = (await host.lab.run(['cat', TRACE])).split('\n');
    const processes = (await host.lab.exec(['pgrep', '-u', 'beacon-setup'])).stdout;
    return {
      records,
      trace: trace.filter((line) => line.includes(` ${number}-`)),
      processes: processes.split('\n').filter(Boolean).length,
      wasToldKept: connection.events.some((event) => event.event === 'closed' && event.why === 'ended'),
    };
  }
}

async function readRecords(host: GateHost): Promise<RecordFields[]> {
  const { stdout } = await host.lab.exec(['cat', '/var/lib/beacon/records/gate.ndjson']);
  return stdout.split('\n').filter(Boolean).map(parseRecord);
}
