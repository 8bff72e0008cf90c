/**
 * What the demo shows of the gate, each refusal beside the control that works: a grant is asked for through the published
 * client as the person who is logged in, and used over a real sshd.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type CaApi, ClientError } from '@beacon/client';
import type { ManagedHost } from '../lab/managed-host.ts';
import { type Asked, invocation } from '../lab/throw-away-ca.ts';
import type { Check } from './checks.ts';
import { GateCaller } from './gate-caller.ts';
import type { GateStage } from './gate-stage.ts';

type Say = (text: string) => void;
type Caller = GateCaller<ManagedHost>;
type Show = (name: string, what: string, check: () => Promise<Check>) => Promise<void>;

const SETTLE_MS = 20_000;

/** All checks of the gate, in an order in which each builds on what was shown before. */
export async function runGateChecks(stage: GateStage, api: CaApi, say: Say, show: Show): Promise<void> {
  const [host, other] = stage.hosts;
  const gate = new GateCaller(api, host, say);
  if (stage.why !== undefined) say(`  without root (${stage.why}): rootless gates, not fit for production`);
  await show(
    'gate_runs',
    `lin runs site.deploy of ${host.target.name}'s allowlist, and sees it as it goes`,
    () => runs(gate),
  );
  await show(
    'gate_other_command',
    'another command than the grant names, and one that policy does not give',
    () => otherCommand(gate),
  );
  await show('gate_other_arguments', 'the granted command with other arguments', () => otherArguments(gate));
  await show('gate_second_use', 'the same command once more, and the same certificate once more', () =>
    secondUse(gate),
  );
  await show('gate_other_host', `a certificate for ${host.target.name} on ${other.target.name}`, () =>
    otherHost(gate, other),
  );
  await show('gate_cut_connection', 'the connection is cut while a command runs', () => cutConnection(gate));
}

async function runs(gate: Caller): Promise<Check> {
  const deploy = site('deploy', 'shop', 'withdraw');
  const connection = await gate.open([deploy]);
  const hello = await connection.hello();
  gate.say(
    `  hello of ${hello.host}: grant ${hello.grant}${hello.notice === undefined ? '' : `; ${hello.notice}`}`,
  );
  const exit = connection.run(deploy);
  await connection.says('deploying shop');
  // The command sleeps between its two lines: the first has come while it runs.
  const isStreamed = !connection.output().includes('is live');
  const ended = await exit;
  gate.say(`  ${connection.output().trimEnd().replaceAll('\n', '\n  ')}`);
  return {
    ok:
      ended.event === 'exit' &&
      ended.code === 0 &&
      isStreamed &&
      connection.output() === `deploying shop as ${gate.host.runsAs}\nshop is live\n`,
    control: (await connection.end()) === 0 && (await sites(gate.host)).includes('shop'),
  };
}

async function otherCommand(gate: Caller): Promise<Check> {
  const withdraw = site('withdraw', 'shop');
  const connection = await gate.open([withdraw]);
  const refused = await connection.run(site('deploy', 'shop'));
  const control = await connection.run(withdraw);
  await connection.end();
  const wipe: Asked = { asked: invocation('site.wipe') };
  const denied = await gate.ask([wipe]).then(
    () => undefined,
    (error: unknown) => (error instanceof ClientError ? error : undefined),
  );
  gate.say(`  CA: ${denied?.message ?? 'it allowed site.wipe'}`);
  return {
    ok: gate.isRefused(refused, 'command-not-granted') && denied?.code === 'refused',
    control: control.event === 'exit' && control.code === 0,
  };
}

async function otherArguments(gate: Caller): Promise<Check> {
  const granted = site('withdraw', 'shop');
  const connection = await gate.open([granted]);
  const salted = { ...granted.asked, params: JSON.stringify({ name: 'shop2' }) };
  const refused = await connection.run({ asked: salted });
  const control = await connection.run(granted);
  await connection.end();
  return {
    ok: gate.isRefused(refused, 'arguments-differ'),
    control: control.event === 'exit' && control.code === 0,
  };
}

async function secondUse(gate: Caller): Promise<Check> {
  const withdraw = site('withdraw', 'shop');
  const held = await gate.ask([withdraw]);
  const connection = await gate.connect(held);
  const control = await connection.run(withdraw);
  const again = await connection.run(withdraw);
  await connection.end();
  const second = await gate.connect(held);
  await second.ended;
  return {
    ok: gate.isRefused(again, 'already-started') && gate.isRefused(second.events[0], 'certificate-used'),
    control: control.event === 'exit' && control.code === 0,
  };
}

async function otherHost(gate: Caller, other: ManagedHost): Promise<Check> {
  const withdraw = site('withdraw', 'shop');
  const held = await gate.ask([withdraw]);
  const elsewhere = await gate.connect(held, other);
  const status = await elsewhere.ended;
  const words = (await other.sshdLog())
    .split('\n')
    .findLast((line) => line.includes('Certificate does not contain an authorized principal'));
  gate.say(`  sshd of ${other.target.name}: ${words ?? 'nothing'}`);
  const connection = await gate.connect(held);
  const control = await connection.run(withdraw);
  await connection.end();
  return {
    ok: status === 255 && elsewhere.events.length === 0 && words !== undefined,
    control: control.event === 'exit' && control.code === 0,
  };
}

/** The same two commands twice: kept when the client says `end`, undone and stopped when it is gone. */
async function cutConnection(gate: Caller): Promise<Check> {
  const kept = site('deploy', 'kept', 'withdraw');
  const one = await gate.open([kept]);
  await one.run(kept);
  await one.end();
  const run = [site('deploy', 'cut', 'withdraw'), site('watch', 'cut')] as const;
  const held = await gate.ask(run);
  const connection = await gate.connect(held);
  await connection.run(run[0]);
  connection.start(run[1]);
  await connection.says('watching cut');
  const before = await sites(gate.host);
  await connection.kill();
  const lines = await untilClosed(gate.host, held.obtained.grant);
  const after = await sites(gate.host);
  gate.say(`  host's records: ${lines.join(', ')}`);
  const watching = (await gate.host.script('pgrep -f "^sleep 4242$" || :')).trim();
  return {
    ok: before.includes('cut') && !after.includes('cut') && lines.includes('undo-ended') && watching === '',
    control: after.includes('kept'),
  };
}

/** The kinds of a grant's records once its session has closed. */
async function untilClosed(host: ManagedHost, grant: string): Promise<string[]> {
  for (const begin = performance.now(); ; await sleep(100)) {
    const kinds = (await host.records())
      .map((line) => JSON.parse(line) as { kind: string; grant?: string })
      .flatMap((record) => (record.grant === grant ? [record.kind] : []));
    if (kinds.includes('session-closed') || performance.now() - begin > SETTLE_MS) return kinds;
  }
}

async function sites(host: ManagedHost): Promise<string[]> {
  return (await host.script(`ls ${host.at('var/tmp/sites')}`)).split('\n').filter(Boolean);
}

function site(verb: string, name: string, undo?: string): Asked {
  const asked = invocation(`site.${verb}`, { name });
  return undo === undefined ? { asked } : { asked, undo: invocation(`site.${undo}`, { name }) };
}
