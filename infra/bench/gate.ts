/**
 * What a gate costs, on a lab host over a real sshd: a whole ssh call to the first byte of `hello`, less the same call (the
 * same certificate, checked by the same principals command) to a bare forced `echo`, beside the runtime's own `node -e 0`;
 * the same less a call with a plain key; commands a second through one session; memory of a session, idle and while a
 * command writes a gigabyte; and how long after its revocation a command still runs. Needs root and half a minute. Prints
 * a table and, last, one JSON line.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatPublicKeyLine, type PublicKey } from '@beacon/ssh';
import { GateConnection } from '../lab/gate-connection.ts';
import { GateHost } from '../lab/gate-host.ts';
import { GATE_PROCESS } from '../lab/init-host.ts';
import { Lab } from '../lab/lab.ts';
import { whyNoLab } from '../lab/possible.ts';
import { type Asked, type Certified, invocation } from '../lab/throw-away-ca.ts';

const CALLS = Number(process.argv[2] ?? 15);
const COMMANDS = 40;

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

/** A login `bare` that the beacon login's certificates enter by the same checks, and a plain key: both lead to `echo`. */
async function addBareLogin(host: GateHost, key: PublicKey): Promise<void> {
  const echo = await host.command('alive', `echo '{"v":1,"event":"alive"}'`);
  await host.lab.script(`
    useradd --create-home --shell /bin/sh bare; usermod -p '*' bare; install -d -m 700 -o bare ~bare/.ssh
    sed 's/^Match User beacon/Match User bare/; s,beacon/principals ,beacon/principals-bare ,; /AuthorizedKeysFile/d' \\
      /etc/ssh/sshd_config.d/10-beacon.conf >/etc/ssh/sshd_config.d/20-bare.conf
  `);
  const bare = (await host.lab.run(['cat', '/usr/lib/beacon/principals']))
    .replace('[ "$1" != "$login" ]', '[ "$1" != bare ]')
    .replace('command="beacon-gate %s"', `command="${echo}"`)
    .replace(`' "$certificate" "$login"`, `' "$login"`);
  await host.lab.write('/usr/lib/beacon/principals-bare', bare, { mode: 0o755 });
  const line = `restrict,command="${echo}" ${formatPublicKeyLine(key)}\n`;
  await host.lab.write('/home/bare/.ssh/authorized_keys', line, { owner: 'bare' });
  await host.lab.script('sshd -t; systemctl reload ssh');
}

async function latency(host: GateHost): Promise<Record<string, number>> {
  const plain = await host.ca.certify([]);
  await addBareLogin(host, plain.key.publicKey);
  const first = async (login: string, certified: Certified): Promise<number> => {
    let opened: GateConnection | undefined;
    const ms = await timed(async () => {
      opened = await GateConnection.open(host.lab, certified, { login });
      await opened.find((event): event is typeof event => event.event === 'alive' || event.event === 'hello');
    });
    await opened?.kill();
    return ms;
  };
  const times = { key: [] as number[], bare: [] as number[], gate: [] as number[], node: [] as number[] };
  for (let call = 0; call < CALLS; call++) {
    // A certificate of another CA is passed over: the plain key is what enters.
    times.key.push(await first('bare', await host.ca.certify([], { key: plain.key, ca: host.ca.rootKey })));
    times.bare.push(await first('bare', await host.ca.certify([])));
    times.gate.push(await first('beacon', await host.ca.certify([])));
    times.node.push(
      await timed(() => new Promise((resolve) => spawn(process.execPath, ['-e', '0']).on('close', resolve))),
    );
  }
  const [key, bare, gate, node] = [times.key, times.bare, times.gate, times.node].map(median) as [
    number,
    number,
    number,
    number,
  ];
  return {
    plain_key_ms: round(key),
    bare_ms: round(bare),
    gate_ms: round(gate),
    gate_alone_ms: round(gate - bare),
    node_ms: round(node),
    gate_alone_over_node: round((gate - bare) / node),
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
    const text = await host.lab.run([
      'sh',
      '-c',
      `grep ${field} /proc/$(pgrep -f "$1")/status`,
      'sh',
      GATE_PROCESS,
    ]);
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
