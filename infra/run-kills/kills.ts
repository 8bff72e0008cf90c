/**
 * Runs of a broker, in each of which one party is killed by SIGKILL at a chosen moment: broker, CA, the host's sshd, the
 * broker's ssh, the gate. Every run is a procedure of three commands with an undo each, whose marks on the host show what
 * was really done. Afterwards the person presses what a person would, until the run is over.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BrokerApi, Run, RunEvent } from '@beacon/client';
import type { DemoBroker } from '../demo/broker-stage.ts';
import type { Stage } from '../demo/stage.ts';
import { GATE_PROCESS, type InitHost } from '../lab/init-host.ts';
import { type Evidence, judge } from './judge.ts';

export const VICTIMS = ['broker', 'ca', 'sshd', 'ssh', 'gate'] as const;
export type Victim = (typeof VICTIMS)[number];

export interface KillStage {
  readonly stage: Stage;
  readonly broker: DemoBroker;
  readonly host: InitHost;
  /** As a person who may run the procedure. A broker that was restarted is asked with it as before. */
  readonly api: BrokerApi;
}

export interface KillOutcome {
  readonly victim: Victim;
  /** How many entries of the run's log were seen when the kill came. */
  readonly after: number;
  /** Whether there was something to kill. */
  readonly hit: boolean;
  /** The phase that the log named last when the kill came. */
  readonly phase: string;
  readonly pressed: readonly string[];
  readonly run: Run;
  readonly findings: readonly string[];
}

export const PROCEDURE = 'marks.make';
const TRACE = '/var/tmp/marks';
/** While this file is there, no command that leaves a mark ends. */
export const HOLD = '/var/tmp/hold';
const SETTLE_MS = 60_000;
const STEPS = 3;

/** The procedure, as an operator declares it. */
export const PROCEDURES = `version: 1
procedures:
  ${PROCEDURE}:
    summary: Leave three marks
    params:
      name: { pattern: '[a-z0-9-]{1,40}' }
    steps:
${['a', 'b', 'c'].map((part) => `      - { command: mark.${part}, params: { name: '{name}' }, undo: { command: mark.un${part}, params: { name: '{name}' } } }`).join('\n')}
`;

const NAME = { name: { pattern: '[a-z0-9-]{1,40}' } };

/** The commands as the CA's inventory has them. */
export const INVENTORY: Readonly<Record<string, object>> = Object.fromEntries(
  ['a', 'b', 'c'].flatMap((part) => [
    [`mark.${part}`, { summary: 'Leave a mark', params: NAME, undo: `mark.un${part}` }],
    [`mark.un${part}`, { summary: 'Take a mark away', params: NAME }],
  ]),
);

/** Lays the commands on the host, and answers its allowlist's entries. */
export async function layMarks(host: InitHost): Promise<Record<string, object>> {
  await host.script(`install -m 666 /dev/null ${TRACE}`);
  const entries: Record<string, object> = {};
  for (const [name, entry] of Object.entries(INVENTORY)) {
    const word = name.startsWith('mark.un') ? 'undo' : 'do';
    const body = `echo "${word} ${name.slice(-1)} $1" >>${TRACE}; ${word === 'do' ? `sleep 0.3; while [ -e ${HOLD} ]; do sleep 0.1; done; echo "marked $1"` : ':'}`;
    const argv = [await host.command(name.replace('.', '-'), body), '{name}'];
    entries[name] = { ...entry, argv, timeout_seconds: 30, run_as: host.runsAs };
  }
  return entries;
}

/** Begins a run, kills `victim` once `after` entries of its log were seen, sees the run to its end, and judges it. */
export async function killOne(
  at: KillStage,
  victim: Victim,
  number: number,
  after: number,
): Promise<KillOutcome> {
  const { api, broker } = at;
  const name = `n${number}`;
  const { run: begun } = await api.createRun({
    host: at.host.target.name,
    procedure: PROCEDURE,
    params: { name },
  });
  const seen = await follow(api, begun.id, after);
  const phase = lastPhase(seen);
  const hit = await kill(at, victim);
  if (victim === 'broker') await broker.serve();
  if (victim === 'ca') await at.stage.serve();
  const pressed: string[] = [];
  const run = await toTheEnd(api, begun.id, number % 2 === 0 ? 'undo' : 'resume', pressed);
  const evidence: Evidence = { ...(await gather(at, run, name)), seen, steps: STEPS };
  return { victim, after, hit, phase, pressed, run, findings: judge(evidence) };
}

/** The first `count` entries of a run's log, or all when it is over before. */
async function follow(api: BrokerApi, id: string, count: number): Promise<readonly RunEvent[]> {
  const seen: RunEvent[] = [];
  if (count === 0) return seen;
  for await (const event of api.events(id)) {
    seen.push(event);
    if (seen.length === count) break;
  }
  return seen;
}

function lastPhase(events: readonly RunEvent[]): string {
  const last = events.findLast((event) => event.kind === 'phase');
  return last === undefined ? 'queued' : String(last.data['phase']);
}

async function kill({ stage, broker, host }: KillStage, victim: Victim): Promise<boolean> {
  switch (victim) {
    case 'broker':
      await broker.kill();
      return true;
    case 'ca':
      await stage.kill();
      return true;
    case 'ssh': {
      const own = childrenOf(broker.process.pid ?? 0).filter(({ name }) => name === 'ssh');
      for (const { pid } of own) process.kill(pid, 'SIGKILL');
      return own.length > 0;
    }
    case 'sshd':
      return (await host.lab.exec(['pkill', '-KILL', '-f', '^sshd: beacon'])).status === 0;
    case 'gate':
      return (await host.lab.exec(['pkill', '-KILL', '-f', GATE_PROCESS])).status === 0;
  }
}

/** Presses what a person would until the run is over: look, then what they want, as far as the run offers it. */
async function toTheEnd(
  api: BrokerApi,
  id: string,
  wanted: 'resume' | 'undo',
  pressed: string[],
): Promise<Run> {
  for (const begin = performance.now(); performance.now() - begin < SETTLE_MS; await sleep(100)) {
    const run = await api.run(id);
    if (['succeeded', 'failed', 'cancelled', 'denied'].includes(run.phase)) return run;
    if (run.phase !== 'interrupted') continue;
    const then = run.possible.includes(wanted) ? wanted : 'undo';
    const wish = pressed.includes('look') ? then : 'look';
    pressed.push(wish);
    await api.wish(id, wish);
  }
  return api.run(id);
}

/** What was really done, by the host's own marks and records, and what the joined trace says. */
async function gather(
  { api, host }: KillStage,
  run: Run,
  name: string,
): Promise<Omit<Evidence, 'seen' | 'steps'>> {
  const marks = (await host.script(`cat ${TRACE}`)).split('\n').filter((line) => line.endsWith(` ${name}`));
  const gates = (await host.lab.exec(['pgrep', '-f', GATE_PROCESS])).stdout;
  const trace = await api.traceRun(run.id);
  const replay: RunEvent[] = [];
  for await (const event of api.events(run.id)) replay.push(event);
  return { run, marks, trace, replay, gateRuns: gates !== '' };
}

function childrenOf(parent: number): { pid: number; name: string }[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      try {
        const [, name = '', rest = ''] =
          /\((.*)\) (.*)$/s.exec(readFileSync(`/proc/${entry}/stat`, 'utf8')) ?? [];
        return Number(rest.split(' ')[1]) === parent ? [{ pid: Number(entry), name }] : [];
      } catch {
        return [];
      }
    });
}
