/**
 * The kills: start, check what the life before acknowledged, load, SIGKILL at a random moment, again. Most kills fall into
 * load; some while the server starts, some while it stops in order.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { addHost, type Caller, isFresh, logIn } from './caller.ts';
import { gatherEvidence, showAgain, tryEnded } from './evidence.ts';
import { type Finding, judge } from './judge.ts';
import { countOf, Ledger } from './ledger.ts';
import { type Sent, startLoad } from './load.ts';
import type { Random } from './random.ts';
import type { Victim } from './victim.ts';

export type Moment = 'load' | 'start' | 'stop';

export interface Outcome {
  readonly kills: Readonly<Record<Moment, number>>;
  readonly acknowledged: number;
  readonly certificates: number;
  readonly revocations: number;
  readonly records: number;
  /** Requests that were shown again although they had been answered. */
  readonly shownAgain: number;
  readonly findings: readonly Finding[];
}

export interface CycleOptions {
  readonly kills: number;
  readonly random: Random;
  /** Told after each kill. */
  readonly say: (text: string) => void;
  /** Called between some lives, while no server runs. */
  readonly between: () => Promise<void>;
}

const WORKERS = 8;
/** The longest that is waited for the first answer. */
const FIRST_ANSWER_MS = 10_000;
/** The longest a load goes on from then to the kill. */
const LOAD_MS = 900;
/** A chain up to this long is verified whole after every kill; a longer one after every 25th, and at the end. */
const SHORT_CHAIN = 10_000;
const WHOLE_EVERY = 25;

export async function runCycles(victim: Victim, options: CycleOptions): Promise<Outcome> {
  const { random, say } = options;
  const ledger = new Ledger(join(victim.folder, 'ledger.ndjson'));
  const kills = { load: 0, start: 0, stop: 0 };
  const findings: Finding[] = [];
  const killed = () => kills.load + kills.start + kills.stop;
  let callers: Caller[] = [];
  let sent: readonly Sent[] = [];
  let left: { readonly caller: Caller; readonly session: string } | undefined;
  let checkedTo = 0;
  let shownAgain = 0;
  let startMs = 1_000;

  /** Holds the life before against what is there now. */
  async function check(whole: boolean): Promise<void> {
    const replays = await showAgain(victim, ledger, sent);
    shownAgain += replays.filter(({ before }) => before !== undefined).length;
    const endedSessions = new Map<string, number>();
    if (left !== undefined) endedSessions.set(left.session, await tryEnded(victim, left.caller));
    const { head, ...evidence } = await gatherEvidence(victim, ledger, { after: checkedTo, whole });
    const found = judge(ledger.turnPage(), { ...evidence, replays, endedSessions });
    for (const { kind, what } of found) say(`  FOUND ${kind}: ${what}`);
    findings.push(...found);
    [checkedTo, sent, left] = [head, [], undefined];
  }

  async function start(): Promise<void> {
    const begun = Date.now();
    victim.spawn();
    await victim.ready();
    startMs = Math.round(0.7 * startMs + 0.3 * (Date.now() - begun));
  }

  async function killAtStart(): Promise<void> {
    victim.spawn();
    await sleep(random.between(0, Math.round(1.2 * startMs)));
    if (await victim.kill()) kills.start += 1;
  }

  async function killUnderLoad(moment: 'load' | 'stop'): Promise<void> {
    await start();
    await check(checkedTo < SHORT_CHAIN || killed() % WHOLE_EVERY === 0);
    if (callers.length === 0) await addHost(victim.url, 'web-01', await logIn(victim.url, 'ada'));
    if (callers.length === 0 || !callers.every(isFresh))
      callers = await Promise.all(['lin', 'kim', 'sam'].map((name) => logIn(victim.url, name)));
    const leaving = random.next() < 0.4 ? await logIn(victim.url, 'lin') : undefined;
    const load = startLoad({ caUrl: victim.url, ledger, random, callers, leaving, workers: WORKERS });
    await Promise.race([load.begun, sleep(FIRST_ANSWER_MS, undefined, { ref: false })]);
    await sleep(random.between(0, LOAD_MS));
    if (moment === 'stop') {
      victim.askToStop();
      await sleep(random.between(0, 120));
    }
    const died = await victim.kill();
    if (died) kills[moment] += 1;
    sent = await load.end();
    if (leaving !== undefined && load.ended !== undefined) left = { caller: leaving, session: load.ended };
  }

  while (killed() < options.kills) {
    const chance = random.next();
    const before = killed();
    if (killed() > 0 && chance < 0.15) await killAtStart();
    else await killUnderLoad(chance < 0.3 ? 'stop' : 'load');
    await options.between();
    if (killed() > before)
      say(
        `kill ${killed()} of ${options.kills}: ${countOf(ledger.whole)} acknowledged, ${findings.length} found`,
      );
  }
  await start();
  await check(false);
  // Once more the whole of it: what was right after its own kill must have stayed so.
  const { head, ...evidence } = await gatherEvidence(victim, ledger, { after: 0, whole: true });
  const atLast = judge(ledger.whole, { ...evidence, replays: [], endedSessions: new Map() });
  for (const { kind, what } of atLast) say(`  FOUND ${kind}: ${what}`);
  const known = new Set(findings.map(({ what }) => what));
  findings.push(...atLast.filter(({ what }) => !known.has(what)));
  await victim.stop();
  return {
    kills,
    acknowledged: countOf(ledger.whole),
    certificates: ledger.whole.certificates.length,
    revocations: ledger.whole.revocations.length,
    records: head,
    shownAgain,
    findings,
  };
}
