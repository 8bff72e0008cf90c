/**
 * What a run through the broker's API costs, beside what one would use instead, on real sshds and gates of a lab: from the
 * call to the first byte of output, beside plain `ssh` with a ready certificate to the same gate; further commands of a run,
 * beside a multiplexed `ssh HOST true`; the watchers of one run; and a run on each of many light hosts, beside `pssh` and
 * `ansible -m raw` where they are installed. Needs root. Prints a table and, last, one JSON line. For trying:
 * `--only latency,further,watchers,fleet`, `--hosts N`, `--calls N`.
 */
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { formatGateRequest } from '@beacon/protocol/gate-request';
import { generateKey } from '@beacon/ssh';
import { GateCaller } from '../demo/gate-caller.ts';
import { whyNoLab } from '../lab/possible.ts';
import { type Asked, invocation } from '../lab/throw-away-ca.ts';
import { openFleet } from './run/light-fleet.ts';
import { PlainSsh } from './run/plain-ssh.ts';
import { type ProcessorTime, processorTime, since } from './run/processor-time.ts';
import { FURTHER, FURTHER_PROCEDURE, HOST, Scene } from './run/scene.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    hosts: { type: 'string', default: '200' },
    calls: { type: 'string', default: '15' },
  },
});
const HOSTS = Number(values.hosts);
const CALLS = Number(values.calls);
const WATCHERS = 500;
const AT_ONCE = 16;

const why = whyNoLab();
if (why !== undefined) throw new Error(why);

const wanted = (part: string): boolean => values.only === undefined || values.only.split(',').includes(part);
const at = (numbers: readonly number[], part: number): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length * part)] ?? Number.NaN;
const median = (numbers: readonly number[]): number => at(numbers, 0.5);
const round = (value: number): number => Math.round(value * 100) / 100;
const say = (text: string) => void process.stderr.write(`${text}\n`);

type Figures = Record<string, number>;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

async function latency(scene: Scene, ssh: PlainSsh): Promise<Figures> {
  const gate = new GateCaller(scene.own, scene.stage.host, say);
  const [byRun, bySsh]: [number[], number[]] = [[], []];
  for (let call = 0; call <= CALLS; call++) {
    let run = '';
    const ms = await timed(async () => {
      run = await scene.begin(HOST, { command: 'bench.greet' });
      await scene.first(run, ({ kind }) => kind === 'stdout');
    });
    await scene.over(run);
    const asked: Asked = { asked: invocation('bench.greet') };
    const held = await gate.ask([asked]);
    const lines = [
      formatGateRequest({ kind: 'command', id: 1, ...asked }),
      formatGateRequest({ kind: 'end', id: 2 }),
    ];
    const plain = await ssh.firstByte(HOST, held, lines);
    // The first of each warms up.
    if (call > 0) {
      byRun.push(ms);
      bySsh.push(plain);
    }
  }
  return {
    first_byte_run_ms: round(median(byRun)),
    first_byte_ssh_ms: round(median(bySsh)),
    first_byte_ratio: round(median(byRun) / median(bySsh)),
  };
}

async function further(scene: Scene, ssh: PlainSsh): Promise<Figures> {
  const run = await scene.begin(HOST, { procedure: FURTHER_PROCEDURE });
  const ends: number[] = [];
  await scene.first(run, ({ kind, data }) => {
    if (kind === 'step' && data['outcome'] === 'succeeded') ends.push(performance.now());
    return ends.length === FURTHER + 1;
  });
  await scene.over(run);
  const perCommand = ((ends.at(-1) ?? Number.NaN) - (ends[0] ?? Number.NaN)) / FURTHER;
  const connection = await ssh.multiplexed(HOST);
  const [bare, unit]: [number[], number[]] = [[], []];
  for (let call = 0; call < FURTHER; call++) {
    bare.push(await timed(() => connection.run('true')));
    unit.push(await timed(() => connection.run('sudo systemd-run --quiet --pipe --wait --collect true')));
  }
  connection.close();
  return {
    further_run_ms: round(perCommand),
    further_ssh_ms: round(median(bare)),
    // What it takes there to run a command in a unit of its own, as a gate does.
    further_ssh_unit_ms: round(median(unit)),
    further_ratio: round(perCommand / median(bare)),
    further_unit_ratio: round(perCommand / median(unit)),
  };
}

/** They share this process, so what it takes to read so many streams is in the figures. */
async function watchers(scene: Scene): Promise<Figures> {
  const run = await scene.begin(HOST, { command: 'bench.stamps' });
  await scene.first(run, ({ kind }) => kind === 'stdout');
  const memory = (): number => {
    const status = readFileSync(`/proc/${scene.stage.broker.process.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1_024;
  };
  const cpuSeconds = (): number => {
    const fields = readFileSync(`/proc/${scene.stage.broker.process.pid}/stat`, 'utf8')
      .split(') ')[1]
      ?.split(' ');
    return (Number(fields?.[11]) + Number(fields?.[12])) / 100;
  };
  const before = memory();
  const [cpuBefore, ownBefore] = [cpuSeconds(), process.cpuUsage()];
  let peak = before;
  const meter = setInterval(() => {
    peak = Math.max(peak, memory());
  }, 200);
  const late: number[] = [];
  const watch = async (): Promise<void> => {
    let joined: number | undefined;
    for await (const { kind, data } of scene.broker.events(run)) {
      const now = performance.timeOrigin + performance.now();
      joined ??= now;
      if (kind !== 'stdout') continue;
      for (const line of String(data['text']).trimEnd().split('\n')) {
        const stamp = Number(line) / 1e6;
        // What was written before it joined is not late.
        if (stamp > joined) late.push(now - stamp);
      }
    }
  };
  await Promise.all(Array.from({ length: WATCHERS }, watch));
  clearInterval(meter);
  const own = process.cpuUsage(ownBefore);
  return {
    watcher_broker_cpu_s: round(cpuSeconds() - cpuBefore),
    watcher_clients_cpu_s: round((own.user + own.system) / 1e6),
    watchers: WATCHERS,
    watcher_events: late.length,
    watcher_p50_ms: round(median(late)),
    watcher_p99_ms: round(at(late, 0.99)),
    broker_idle_mib: round(before),
    broker_watched_mib: round(peak),
  };
}

async function fleet(scene: Scene, folder: string, plain: ReturnType<typeof generateKey>): Promise<Figures> {
  say(`starting ${HOSTS} light hosts`);
  const hosts = await openFleet(scene.stage.lab, folder, HOSTS, scene.ca, plain.publicKey);
  const ssh = await PlainSsh.prepare(folder, plain, hosts, await authorities(scene));
  const names = hosts.map(({ name }) => name);
  const run = async (host: string): Promise<void> =>
    scene.over(await scene.begin(host, { command: 'bench.nothing' }));
  await Promise.all(names.slice(0, 2).map(run));
  const pids = {
    broker: [scene.stage.broker.process.pid ?? 0],
    ca: [scene.stage.stage.process.pid ?? 0],
    hosts: hosts.map(({ leader }) => leader ?? 0),
    here: [process.pid],
  };
  const used = () => ({
    broker: processorTime(...pids.broker),
    ca: processorTime(...pids.ca),
    hosts: processorTime(...pids.hosts),
    here: processorTime(...pids.here),
  });
  say('runs');
  const beforeRuns = used();
  const runs = await timed(() => each(names, run));
  // Records are reported, and processes of hosts end, after a run is over.
  await delay(2_000);
  const afterRuns = used();
  say('ssh');
  const bare = await timed(() => each(names, (name) => ssh.run(name, 'echo nothing')));
  const beforePssh = used();
  say('pssh');
  const pssh = await ssh.pssh(names, AT_ONCE, 'echo nothing');
  const afterPssh = used();
  say('ansible');
  const perHost = (ms: number): number => round(ms / HOSTS);
  const both = ({ own, children }: ProcessorTime): number => own + children;
  const ansible = await ssh.ansible(names, AT_ONCE, 'echo nothing');
  const seconds = (ms: number): number => round(ms / 1_000);
  return {
    fleet_hosts: HOSTS,
    fleet_at_once: AT_ONCE,
    fleet_runs_s: seconds(runs),
    fleet_ssh_s: seconds(bare),
    fleet_run_broker_ms: perHost(since(beforeRuns.broker, afterRuns.broker).own),
    fleet_run_ssh_ms: perHost(since(beforeRuns.broker, afterRuns.broker).children),
    fleet_run_ca_ms: perHost(both(since(beforeRuns.ca, afterRuns.ca))),
    fleet_run_host_ms: perHost(both(since(beforeRuns.hosts, afterRuns.hosts))),
    fleet_pssh_client_ms: perHost(since(beforePssh.here, afterPssh.here).children),
    fleet_pssh_host_ms: perHost(both(since(beforePssh.hosts, afterPssh.hosts))),
    ...(pssh === undefined ? {} : { fleet_pssh_s: seconds(pssh), fleet_over_pssh: round(runs / pssh) }),
    ...(ansible === undefined
      ? {}
      : { fleet_ansible_s: seconds(ansible), fleet_ansible_over: round(ansible / runs) }),
  };
}

async function each(names: readonly string[], work: (name: string) => Promise<void>): Promise<void> {
  const left = [...names];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let next = left.shift(); next !== undefined; next = left.shift()) await work(next);
    }),
  );
}

async function authorities(scene: Scene): Promise<string[]> {
  const { host } = await scene.ca.authorityKeys();
  return host.map(({ publicKey }) => publicKey.split(' ').slice(0, 2).join(' '));
}

const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-run-bench-'));
const plain = generateKey('ssh-ed25519');
const scene = await Scene.open(plain.publicKey);
try {
  const ssh = await PlainSsh.prepare(folder, plain, [scene.stage.host.target], await authorities(scene));
  const figures: Figures = {
    ...(wanted('latency') ? await latency(scene, ssh) : {}),
    ...(wanted('further') ? await further(scene, ssh) : {}),
    ...(wanted('watchers') ? await watchers(scene) : {}),
    ...(wanted('fleet') ? await fleet(scene, folder, plain) : {}),
  };
  for (const [name, value] of Object.entries(figures)) console.log(`${name.padEnd(28)} ${value}`);
  console.log(JSON.stringify({ bench: 'run', calls: CALLS, ...figures }));
} finally {
  await scene.close();
  rmSync(folder, { recursive: true, force: true });
}
