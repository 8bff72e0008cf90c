/**
 * What a gate costs, on a lab host over a real sshd: a whole ssh call to the first byte of `hello`, beside the same call to
 * a bare forced command and beside the runtime's own `node -e 0`; commands a second through one session; memory of a
 * session, idle and while a command writes a gigabyte; and how long after its revocation a command still runs. Needs root
 * and half a minute. Prints a table and, last, one JSON line.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatPublicKeyLine } from '@beacon/ssh';
import { GateConnection } from '../lab/gate-connection.ts';
import { GateHost } from '../lab/gate-host.ts';
import { Lab } from '../lab/lab.ts';
import { whyNoLab } from '../lab/possible.ts';
import { type Asked, invocation } from '../lab/throw-away-ca.ts';

const CALLS = Number(process.argv[2] ?? 15);
const COMMANDS = 40;
const GATE = '^/usr/lib/beacon/node /usr/lib/beacon/gate$';

const why = whyNoLab();
if (why !== undefined) throw new Error(why);

const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-gate-bench-'));
const lab = Lab.open(folder);

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
const round = (value: number): number => Math.round(value * 10) / 10;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

/** The figures of one run. */
async function measure(host: GateHost): Promise<Record<string, number>> {
  const plain = { summary: 'for a bench', timeout_seconds: 120, run_as: 'beacon-setup' };
  await host.allow({
    version: 1,
    commands: {
      nothing: { ...plain, argv: ['/usr/bin/true'] },
      flood: {
        ...plain,
        argv: ['/usr/bin/head', '-c', '1000000000', '/dev/zero'],
        max_output_bytes: 20_000_000,
      },
      sleep: { ...plain, argv: ['/usr/bin/sleep', '100'] },
    },
  });
  return {
    ...(await latency(host)),
    ...(await throughput(host)),
    ...(await memory(host)),
    ...(await revocation(host)),
  };
}

async function latency(host: GateHost): Promise<Record<string, number>> {
  const bare = await host.ca.certify([]);
  await host.lab.script(
    'useradd --create-home --shell /bin/sh bare; usermod -p "*" bare; install -d -m 700 -o bare ~bare/.ssh',
  );
  const line = `restrict,command="echo '{\\"v\\":1,\\"event\\":\\"alive\\"}'" ${formatPublicKeyLine(bare.key.publicKey)}\n`;
  await host.lab.write('/home/bare/.ssh/authorized_keys', line, { owner: 'bare' });
  const [bareMs, gateMs, nodeMs]: [number[], number[], number[]] = [[], [], []];
  for (let call = 0; call < CALLS; call++) {
    const certified = await host.ca.certify([]);
    const first = async (login: string, with_: typeof certified) => {
      const connection = await GateConnection.open(host.lab, with_, { login });
      await connection.find(
        (event): event is typeof event => event.event === 'alive' || event.event === 'hello',
      );
      return connection;
    };
    let opened: GateConnection[] = [];
    bareMs.push(await timed(async () => opened.push(await first('bare', bare))));
    gateMs.push(await timed(async () => opened.push(await first('beacon', certified))));
    for (const connection of opened) await connection.kill();
    opened = [];
    nodeMs.push(
      await timed(() => new Promise((resolve) => spawn(process.execPath, ['-e', '0']).on('close', resolve))),
    );
  }
  return {
    bare_ms: round(median(bareMs)),
    gate_ms: round(median(gateMs)),
    gate_alone_ms: round(median(gateMs) - median(bareMs)),
    node_ms: round(median(nodeMs)),
  };
}

async function throughput(host: GateHost): Promise<Record<string, number>> {
  const commands: Asked[] = Array.from({ length: COMMANDS }, () => ({ asked: invocation('nothing') }));
  const connection = await GateConnection.open(host.lab, await host.ca.certify(commands));
  await connection.hello();
  const ms = await timed(async () => {
    for (const command of commands) await connection.run(command);
  });
  await connection.end();
  return { commands_per_second: round((COMMANDS * 1_000) / ms) };
}

async function memory(host: GateHost): Promise<Record<string, number>> {
  const flood: Asked = { asked: invocation('flood') };
  const connection = await GateConnection.open(host.lab, await host.ca.certify([flood]));
  await connection.hello();
  const mebibytes = async (field: string): Promise<number> => {
    const text = await host.lab.run(['sh', '-c', `grep ${field} /proc/$(pgrep -f "$1")/status`, 'sh', GATE]);
    return round(Number(/\d+/.exec(text)) / 1_024);
  };
  const idle = await mebibytes('VmRSS');
  const id = connection.start(flood);
  const exit = connection.exitOf(id);
  const ms = await timed(() => exit);
  const peak = await mebibytes('VmHWM');
  await connection.end();
  return { idle_mib: idle, peak_mib: peak, flood_mb_per_second: round(1_000_000 / ms) };
}

async function revocation(host: GateHost): Promise<Record<string, number>> {
  const seconds: number[] = [];
  for (let call = 0; call < 5; call++) {
    const sleep: Asked = { asked: invocation('sleep') };
    const certified = await host.ca.certify([sleep]);
    const connection = await GateConnection.open(host.lab, certified);
    const id = connection.start(sleep);
    await connection.find((event): event is typeof event => event.event === 'started');
    const exit = connection.exitOf(id);
    await host.publish({ revoked: [certified.serial] });
    seconds.push((await timed(() => exit)) / 1_000);
    await connection.ended;
  }
  return { longest_after_revocation_s: round(Math.max(...seconds)) };
}

try {
  const figures = await measure(await GateHost.boot(lab, 'bench-01'));
  for (const [name, value] of Object.entries(figures)) console.log(`${name.padEnd(28)} ${value}`);
  console.log(JSON.stringify({ bench: 'gate', calls: CALLS, ...figures }));
} finally {
  await lab.down();
  rmSync(folder, { recursive: true, force: true });
}
