/**
 * Two managed hosts of the demo, which trust its CA: machines of the lab that enrol by `beacon host init` where that can be
 * had, else an sshd of one's own on loopback with the rootless gate. Policy and inventory for their commands are here too.
 */
import { appendFileSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CaApi } from '@beacon/client';
import { InitHost } from '../lab/init-host.ts';
import { Lab } from '../lab/lab.ts';
import { openLane } from '../lab/lane.ts';
import type { ManagedHost } from '../lab/managed-host.ts';
import { whyNoLab } from '../lab/possible.ts';
import { RootlessHost, whyNoRootlessHost } from '../lab/rootless-host.ts';
import { offerMore, permitRunners, runnerInventory, runnerWords } from './runner-host.ts';
import type { Stage } from './stage.ts';
import { makeRootKey, publishRoot, succeed } from './trust-ceremony.ts';

const NAMES = ['site-01', 'site-02'] as const;
const PLACE = ['--label', 'stage=demo', '--pool', 'sites'];

const NAME = { pattern: '[a-z][a-z0-9-]{0,30}' };
const COMMANDS = {
  'site.deploy': { summary: 'Put a site in place', params: { name: NAME }, undo: 'site.withdraw' },
  'site.withdraw': { summary: 'Take a site away', params: { name: NAME } },
  'site.watch': { summary: 'Watch a site until told to stop', params: { name: NAME } },
  'site.wipe': { summary: 'Take all sites away', params: {} },
};

/** In the form that both the CA's inventory and, with `argv` and account, a host's allowlist have. */
const PERMITTED = ['site.deploy', 'site.withdraw', 'site.watch'];

/** Names the hosts' commands in the CA's inventory and lets the web team have them, but not `site.wipe`; runners too. */
export function offerCommands(caFolder: string): void {
  const commands = { ...COMMANDS, ...runnerInventory() };
  writeFileSync(join(caFolder, 'inventory.yaml'), JSON.stringify({ version: 1, commands }));
  permitRunners(caFolder);
  appendFileSync(
    join(caFolder, 'policy', 'policy.cedar'),
    `
@id("web-team-deploys")
@max_lifetime("15m")
permit (
  principal in Team::"github:7001",
  action in [${PERMITTED.map((command) => `Action::"${command}"`).join(', ')}],
  resource in Pool::"sites"
);
`,
  );
}

export interface GateStage {
  /** Why there is no lab, and the hosts are rootless. */
  readonly why: string | undefined;
  readonly hosts: readonly [ManagedHost, ManagedHost];
  readonly close: () => Promise<void>;
}

/** Before the CA is served: the key that signs what hosts trust, where hosts can enrol. */
export async function prepareEnrolment(caFolder: string, stage: Stage): Promise<void> {
  if (whyNoLab() === undefined) await makeRootKey(caFolder, stage);
}

/** Starts both hosts; `api` is asked for what they trust, `stage` enrols or registers them as its administrator. `say` is told. */
export async function openGateStage(
  stage: Stage,
  api: CaApi,
  say: (text: string) => void,
): Promise<GateStage> {
  const why = whyNoLab();
  const whyNone = why === undefined ? undefined : whyNoRootlessHost();
  if (whyNone !== undefined) throw new Error(`no host can be had here: ${why}, and ${whyNone}`);
  const closing: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const one of closing.reverse()) await one();
  };
  try {
    const hosts =
      why === undefined ? await enrolBoth(stage, closing, say) : await registerBoth(stage, api, closing);
    for (const host of hosts) await prepare(host);
    return { why, hosts, close };
  } catch (error) {
    await close();
    throw error;
  }
}

type Both = GateStage['hosts'];
type Closing = (() => Promise<void>)[];

/** Machines of the lab, by `beacon host init` with a token. Lanes lead each to CA and stand-in, which are on loopback. */
async function enrolBoth(stage: Stage, closing: Closing, say: (text: string) => void): Promise<Both> {
  await publishRoot(stage, 'ada');
  const lab = Lab.open(mkdtempSync(join(tmpdir(), 'beacon-demo-lab-')));
  closing.push(() => lab.down());
  const enrol = async (host: InitHost): Promise<ManagedHost> => {
    const { name, address } = host.target;
    for (const url of [stage.caUrl, stage.standin.url]) {
      const lane = await openLane(lab, name, Number(new URL(url).port));
      closing.push(() => lane.close());
    }
    const words = ['ca', 'host', 'token', name, '--address', address, ...PLACE];
    await host.lab.write('/run/token', succeed(await stage.beacon('ada', words)), { mode: 0o600 });
    const enrolling = ['--ca', stage.caUrl, '--token-file', '/run/token'];
    const said = await host.init([...enrolling, ...runnerWords(stage.standin.url)]);
    say(
      `  $ beacon ca host token ${name} …, and on ${name}: beacon host init --id ${name} --ca … --token-file …`,
    );
    say(`  ${said.trimEnd().split('\n').at(-1) ?? ''}`);
    return host;
  };
  // One after the other: a lab's network is made by the first.
  const first = await InitHost.start(lab, NAMES[0]);
  const second = await InitHost.start(lab, NAMES[1]);
  const [one, other] = await Promise.allSettled([enrol(first), enrol(second)]);
  if (one.status === 'rejected') throw one.reason;
  if (other.status === 'rejected') throw other.reason;
  return [one.value, other.value];
}

/** Where there is no root: an administrator registers them, and they are told what to trust. */
async function registerBoth(stage: Stage, api: CaApi, closing: Closing): Promise<Both> {
  const keys = await api.authorityKeys();
  const first = {
    krl: await api.revocationList(),
    root: { userCa: keys.user.map(({ publicKey }) => publicKey.split(' ').slice(0, 2).join(' ')) },
  };
  const register = async (id: string): Promise<ManagedHost> => {
    const host = await RootlessHost.start(id, first);
    closing.push(() => host.close());
    const { name, address, port, hostKey } = host.target;
    const keyFile = join(stage.folder, `${name}.pub`);
    writeFileSync(keyFile, `${hostKey}\n`);
    const words = ['ca', 'host', 'add', name, '--address', `${address}:${port ?? 22}`, '--login', host.login];
    const added = succeed(await stage.beacon('ada', [...words, ...PLACE, '--host-key', keyFile, '--json']));
    await host.certifyHostKey((JSON.parse(added) as { certificate: string }).certificate);
    return host;
  };
  return [await register(NAMES[0]), await register(NAMES[1])];
}

async function prepare(host: ManagedHost): Promise<void> {
  const sites = host.at('var/tmp/sites');
  await host.script(`mkdir -p ${sites}; chmod 1777 ${sites}`);
  const how = { timeout_seconds: 60, run_as: host.runsAs };
  const withName = async (command: keyof typeof COMMANDS, body: string, words: readonly string[]) => ({
    ...COMMANDS[command],
    ...how,
    argv: [await host.command(command.replace('.', '-'), body), ...words],
  });
  await offer(host, {
    'site.deploy': await withName(
      'site.deploy',
      `echo "deploying $1 as $(id -un)"; sleep 1; touch ${sites}/"$1"; echo "$1 is live"`,
      ['{name}'],
    ),
    'site.withdraw': await withName('site.withdraw', `rm -f ${sites}/"$1"`, ['{name}']),
    'site.watch': await withName('site.watch', 'echo "watching $1"; sleep 4242 & wait', ['{name}']),
    'site.wipe': await withName('site.wipe', `rm -f ${sites}/*`, []),
  });
}

/** A machine of the lab has the entries for runners already. */
async function offer(host: ManagedHost, commands: Readonly<Record<string, object>>): Promise<void> {
  if (!(host instanceof InitHost)) return host.allow({ version: 1, commands });
  await offerMore(host, commands);
  // What it offers is known at the CA by its report.
  await host.script('/usr/lib/beacon/beacon host sync');
}
