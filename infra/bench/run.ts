/**
 * What a broker's run costs, beside what one would use instead, on real sshds and gates of a lab: from the wish for a run
 * to the first byte of its output, beside plain `ssh` with a ready certificate to the same gate; further commands of a run,
 * beside a multiplexed `ssh HOST true`; watchers of one run; and a run on each of many light hosts, beside `pssh` and
 * `ansible -m raw` where they are installed. Needs root. Prints a table and, last, one JSON line. For trying:
 * `--only latency,further,watchers,fleet`, `--hosts N`, `--calls N`.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { formatGateRequest } from '@beacon/protocol/gate-request';
import { formatCertificateLine, formatPrivateKey, formatPublicKeyLine, generateKey } from '@beacon/ssh';
import { GateHost } from '../lab/gate-host.ts';
import { Lab } from '../lab/lab.ts';
import type { LabHost } from '../lab/lab-host.ts';
import type { GateTarget } from '../lab/managed-host.ts';
import { whyNoLab } from '../lab/possible.ts';
import { type Asked, invocation, lineOf, ThrowAwayCa } from '../lab/throw-away-ca.ts';
import { BenchCa } from './run/bench-ca.ts';
import { type Engine, openEngine } from './run/engine.ts';
import { openFleet } from './run/light-fleet.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    hosts: { type: 'string', default: '200' },
    calls: { type: 'string', default: '15' },
  },
});
const HOSTS = Number(values.hosts);
const CALLS = Number(values.calls);
const FURTHER = 30;
const WATCHERS = 500;
const WATCHED_SECONDS = 10;
const AT_ONCE = 16;
const PSSH = '/usr/bin/parallel-ssh';
const ANSIBLE = '/usr/bin/ansible';

const why = whyNoLab();
if (why !== undefined) throw new Error(why);

const wanted = (part: string): boolean => values.only === undefined || values.only.split(',').includes(part);
const sorted = (numbers: readonly number[]): number[] => numbers.toSorted((a, b) => a - b);
const median = (numbers: readonly number[]): number => sorted(numbers)[numbers.length >> 1] ?? Number.NaN;
const round = (value: number): number => Math.round(value * 100) / 100;
const say = (text: string) => void process.stderr.write(`${text}\n`);

type Figures = Record<string, number | string>;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-run-bench-'));
const lab = Lab.open(folder);
const plain = generateKey('ssh-ed25519');
const plainKey = join(folder, 'plain');
const knownHosts = join(folder, 'known_hosts');
const configuration = join(folder, 'ssh_config');

/** How ssh finds a host by its name, as somebody has written it down who knows the hosts by their CA. */
function writeConfiguration(hosts: readonly GateTarget[], bench: BenchCa): void {
  const places = hosts.map(
    ({ name, address }) => `Host ${name}\n HostName ${address}\n HostKeyAlias ${name}\n`,
  );
  const everywhere = [
    ...['IdentitiesOnly yes', 'IdentityAgent none', 'BatchMode yes', `UserKnownHostsFile ${knownHosts}`],
    ...['GlobalKnownHostsFile none', 'HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com'],
  ];
  writeFileSync(
    configuration,
    `${places.join('')}Host *\n${everywhere.map((line) => ` ${line}\n`).join('')}`,
  );
  writeFileSync(
    knownHosts,
    hosts.map(({ name }) => `@cert-authority ${name} ${lineOf(bench.hostCa)}\n`).join(''),
  );
}

/** The words for somebody who has a ready key. */
const plainWords = ['-F', configuration, '-i', plainKey];

/** A whole host, with a gate as it is in production, and a login `plain` beside it. */
async function openWhole(): Promise<{ host: GateHost; bench: BenchCa; engine: Engine }> {
  const host = await GateHost.boot(lab, 'bench-01');
  const bench = new BenchCa(host.ca);
  const { name, address, hostKey } = host.target;
  bench.addresses.set(name, address);
  await host.lab.write('/etc/ssh/host-cert.pub', `${await bench.certifyHost(name, hostKey)}\n`);
  await host.lab.write('/etc/ssh/sshd_config.d/91-bench.conf', 'HostCertificate /etc/ssh/host-cert.pub\n');
  await host.lab.script(`
    useradd --create-home --shell /bin/sh plain; usermod -p '*' plain; install -d -m 700 -o plain ~plain/.ssh
    printf '%s\\n' '${formatPublicKeyLine(plain.publicKey)}' >~plain/.ssh/authorized_keys
    echo 'plain ALL=(root) NOPASSWD: /usr/bin/systemd-run' >/etc/sudoers.d/plain
    systemctl reload ssh
  `);
  const command = { summary: 'for a bench', timeout_seconds: 120, run_as: 'beacon-setup' };
  const stamps = `n=0; while [ $n -lt ${WATCHED_SECONDS * 20} ]; do date +%s%N; sleep 0.05; n=$((n + 1)); done`;
  await host.allow({
    version: 1,
    commands: {
      nothing: { ...command, argv: ['/usr/bin/true'] },
      greet: { ...command, argv: ['/usr/bin/echo', 'hello'] },
      stamps: { ...command, argv: [await host.command('stamps', stamps)] },
    },
  });
  return { host, bench, engine: await openEngine(folder, bench.caller()) };
}

/** Until the first line of the gate's that carries output. */
async function firstByteBySsh(bench: BenchCa): Promise<number> {
  const asked: Asked = { asked: invocation('greet') };
  const { blob, key } = await bench.ca.certify([asked]);
  const file = join(folder, 'ready');
  writeFileSync(file, await formatPrivateKey(key.privateKey), { mode: 0o600 });
  writeFileSync(`${file}-cert.pub`, `${formatCertificateLine(blob)}\n`);
  const request = formatGateRequest({ kind: 'command', id: 1, ...asked });
  const words = ['-F', configuration, '-i', file, '-T', 'beacon@bench-01'];
  let child: ChildProcess | undefined;
  const ms = await timed(async () => {
    const ssh = spawn('ssh', words, { stdio: 'pipe' });
    child = ssh;
    ssh.stdin.write(`${request}\n${formatGateRequest({ kind: 'end', id: 2 })}\n`);
    let said = '';
    await new Promise<void>((resolve, reject) => {
      ssh.stdout.on('data', (data: Buffer) => {
        said += data.toString();
        if (said.includes('"event":"stdout"')) resolve();
      });
      ssh.once('close', () => reject(new Error(`plain ssh got no output: ${said}`)));
    });
  });
  await new Promise((resolve) => child?.once('close', resolve));
  return ms;
}

async function latency(bench: BenchCa, engine: Engine): Promise<Figures> {
  const [byRun, bySsh]: [number[], number[]] = [[], []];
  for (let call = 0; call <= CALLS; call++) {
    let run = '';
    const ms = await timed(async () => {
      run = await engine.begin('bench-01', ['greet']);
      await engine.first(run, ({ kind }) => kind === 'stdout');
    });
    await engine.over(run);
    const plainMs = await firstByteBySsh(bench);
    // The first of each warms up.
    if (call > 0) [byRun.push(ms), bySsh.push(plainMs)];
  }
  return {
    first_byte_run_ms: round(median(byRun)),
    first_byte_ssh_ms: round(median(bySsh)),
    first_byte_ratio: round(median(byRun) / median(bySsh)),
  };
}

async function further(engine: Engine): Promise<Figures> {
  const run = await engine.begin(
    'bench-01',
    Array.from({ length: FURTHER + 1 }, () => 'nothing'),
  );
  const ends: number[] = [];
  await engine.first(run, ({ kind, data }) => {
    if (kind === 'step' && data['outcome'] === 'succeeded') ends.push(performance.now());
    return ends.length === FURTHER + 1;
  });
  await engine.over(run);
  const perCommand = ((ends.at(-1) ?? Number.NaN) - (ends[0] ?? Number.NaN)) / FURTHER;
  const control = join(folder, 'control');
  const options = [...plainWords, '-o', `ControlPath=${control}`];
  const target = 'plain@bench-01';
  const master = spawn('ssh', [...options, '-o', 'ControlMaster=yes', '-N', target], { stdio: 'ignore' });
  for (let tries = 0; tries < 100 && !existsSync(control); tries++) await delay(50);
  const bare: number[] = [];
  const unit: number[] = [];
  const asUnit = 'sudo systemd-run --quiet --pipe --wait --collect true';
  for (let call = 0; call < FURTHER; call++) {
    bare.push(await timed(() => promisify(execFile)('ssh', [...options, target, 'true'])));
    unit.push(await timed(() => promisify(execFile)('ssh', [...options, target, asUnit])));
  }
  master.kill();
  return {
    further_run_ms: round(perCommand),
    further_ssh_ms: round(median(bare)),
    // What it takes there to run a command in a unit of its own, as a gate does.
    further_ssh_unit_ms: round(median(unit)),
    further_ratio: round(perCommand / median(bare)),
    further_unit_ratio: round(perCommand / median(unit)),
  };
}

async function watchers(engine: Engine): Promise<Figures> {
  const run = await engine.begin('bench-01', ['stamps']);
  await engine.first(run, ({ kind }) => kind === 'stdout');
  const before = process.memoryUsage().rss;
  const late: number[] = [];
  let peak = before;
  const stop = new AbortController();
  const watch = async (): Promise<void> => {
    const joined = Date.now();
    for await (const { kind, data } of engine.runs.events(run, 0, stop.signal)) {
      if (kind !== 'stdout') continue;
      const now = performance.timeOrigin + performance.now();
      for (const line of String(data['text'] ?? '')
        .trimEnd()
        .split('\n')) {
        const stamp = Number(line) / 1e6;
        // What was written before it joined is not late.
        if (stamp > joined) late.push(now - stamp);
      }
    }
  };
  const meter = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss);
  }, 200);
  await Promise.all(Array.from({ length: WATCHERS }, watch));
  clearInterval(meter);
  const times = sorted(late);
  return {
    watchers: WATCHERS,
    watcher_events: times.length,
    watcher_p50_ms: round(times[times.length >> 1] ?? Number.NaN),
    watcher_p99_ms: round(times[Math.floor(times.length * 0.99)] ?? Number.NaN),
    watcher_memory_mib: round((peak - before) / 1_048_576),
    broker_memory_mib: round(peak / 1_048_576),
  };
}

async function fleet(): Promise<Figures> {
  const ca = new ThrowAwayCa({ host: 'light-001', login: 'beacon' }, () => new Date());
  const bench = new BenchCa(ca);
  say(`starting ${HOSTS} light hosts`);
  const hosts = await openFleet(lab, folder, HOSTS, bench, plain.publicKey);
  writeConfiguration(hosts, bench);
  const own = mkdtempSync(join(folder, 'fleet-broker-'));
  const engine = await openEngine(own, bench.caller());
  try {
    const run = async (host: LabHost): Promise<void> =>
      engine.over(await engine.begin(host.name, ['nothing']));
    await run(hosts[0] as LabHost);
    const runs = await timed(() => eachAtOnce(hosts, run));
    const ssh = await timed(() =>
      eachAtOnce(hosts, async ({ name }) => {
        await promisify(execFile)('ssh', [...plainWords, `plain@${name}`, 'true']);
      }),
    );
    const pssh = await byPssh(hosts);
    const ansible = await byAnsible(hosts);
    return {
      fleet_hosts: HOSTS,
      fleet_at_once: AT_ONCE,
      fleet_runs_s: round(runs / 1_000),
      fleet_ssh_s: round(ssh / 1_000),
      ...(pssh === undefined
        ? {}
        : { fleet_pssh_s: round(pssh / 1_000), fleet_over_pssh: round(runs / pssh) }),
      ...(ansible === undefined
        ? {}
        : { fleet_ansible_s: round(ansible / 1_000), fleet_ansible_over: round(ansible / runs) }),
    };
  } finally {
    await engine.close();
  }
}

async function eachAtOnce<Value>(
  all: readonly Value[],
  work: (value: Value) => Promise<void>,
): Promise<void> {
  const left = [...all];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let next = left.shift(); next !== undefined; next = left.shift()) await work(next);
    }),
  );
}

async function byPssh(hosts: readonly LabHost[]): Promise<number | undefined> {
  if (!existsSync(PSSH)) return undefined;
  const list = join(folder, 'pssh-hosts');
  writeFileSync(list, hosts.map(({ name }) => `plain@${name}\n`).join(''));
  const extra = plainWords.flatMap((word) => ['-X', word]);
  return timed(() =>
    program(PSSH, ['-h', list, '-p', String(AT_ONCE), '-t', '60', ...extra, 'echo nothing']),
  );
}

async function byAnsible(hosts: readonly LabHost[]): Promise<number | undefined> {
  if (!existsSync(ANSIBLE)) return undefined;
  const list = join(folder, 'ansible-hosts');
  writeFileSync(list, `[all]\n${hosts.map(({ name }) => `${name}\n`).join('')}`);
  const settings = join(folder, 'ansible.cfg');
  writeFileSync(settings, '[defaults]\n');
  const environment = {
    PATH: '/usr/bin:/bin',
    HOME: folder,
    ANSIBLE_CONFIG: settings,
    ANSIBLE_LOCAL_TEMP: join(folder, 'ansible'),
    ANSIBLE_SSH_CONTROL_PATH_DIR: join(folder, 'cp'),
    ANSIBLE_SSH_ARGS: `${plainWords.join(' ')} -o ControlMaster=auto -o ControlPersist=60s`,
  };
  const words = ['all', '-i', list, '-u', 'plain', '-f', String(AT_ONCE), '-m', 'raw', '-a', 'echo nothing'];
  return timed(() => program(ANSIBLE, words, environment));
}

async function program(file: string, words: readonly string[], env?: NodeJS.ProcessEnv): Promise<void> {
  const child = spawn(file, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(env === undefined ? {} : { env }),
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => (said += data.toString()));
  const status = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (status !== 0) throw new Error(`${file} ended with ${String(status)}: ${said.slice(-2_000)}`);
}

try {
  writeFileSync(plainKey, await formatPrivateKey(plain.privateKey), { mode: 0o600 });
  let figures: Figures = {};
  if (wanted('latency') || wanted('further') || wanted('watchers')) {
    const { host, bench, engine } = await openWhole();
    writeConfiguration([host.target], bench);
    if (wanted('latency')) figures = { ...figures, ...(await latency(bench, engine)) };
    if (wanted('further')) figures = { ...figures, ...(await further(engine)) };
    if (wanted('watchers')) figures = { ...figures, ...(await watchers(engine)) };
    await engine.close();
    await lab.stop('bench-01');
  }
  if (wanted('fleet')) figures = { ...figures, ...(await fleet()) };
  for (const [name, value] of Object.entries(figures)) console.log(`${name.padEnd(28)} ${value}`);
  console.log(JSON.stringify({ bench: 'run', calls: CALLS, ...figures }));
} finally {
  await lab.down();
  rmSync(folder, { recursive: true, force: true });
}
