/**
 * Two managed hosts of the demo, registered at its CA and trusting its keys: machines of the lab where that can be had,
 * else an sshd of one's own on loopback with the rootless gate. Policy and inventory for their commands are here too.
 */
import { appendFileSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CaApi } from '@beacon/client';
import { GateHost } from '../lab/gate-host.ts';
import { Lab } from '../lab/lab.ts';
import type { ManagedHost } from '../lab/managed-host.ts';
import { whyNoLab } from '../lab/possible.ts';
import { RootlessHost, whyNoRootlessHost } from '../lab/rootless-host.ts';
import type { Stage } from './stage.ts';

const NAME = { pattern: '[a-z][a-z0-9-]{0,30}' };
const COMMANDS = {
  'site.deploy': { summary: 'Put a site in place', params: { name: NAME }, undo: 'site.withdraw' },
  'site.withdraw': { summary: 'Take a site away', params: { name: NAME } },
  'site.watch': { summary: 'Watch a site until told to stop', params: { name: NAME } },
  'site.wipe': { summary: 'Take all sites away', params: {} },
};

/** In the form that both the CA's inventory and, with `argv` and account, a host's allowlist have. */
const PERMITTED = ['site.deploy', 'site.withdraw', 'site.watch'];

/** Names the hosts' commands in the CA's inventory and lets the web team have them, but not `site.wipe`. */
export function offerCommands(caFolder: string): void {
  writeFileSync(join(caFolder, 'inventory.yaml'), JSON.stringify({ version: 1, commands: COMMANDS }));
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

/** Starts both hosts; `api` is asked for what they trust, `stage` registers them as its administrator. */
export async function openGateStage(stage: Stage, api: CaApi): Promise<GateStage> {
  const why = whyNoLab();
  const whyNone = why === undefined ? undefined : whyNoRootlessHost();
  if (whyNone !== undefined) throw new Error(`no host can be had here: ${why}, and ${whyNone}`);
  const keys = await api.authorityKeys();
  const krl = await api.revocationList();
  const first = {
    krl,
    root: { userCa: keys.user.map(({ publicKey }) => publicKey.split(' ').slice(0, 2).join(' ')) },
  };
  const names = ['site-01', 'site-02'] as const;
  if (why === undefined) {
    const lab = Lab.open(mkdtempSync(join(tmpdir(), 'beacon-demo-lab-')));
    return settle(
      () => lab.down(),
      stage,
      why,
      () => boot(names, (name) => GateHost.boot(lab, name, first)),
    );
  }
  const started: RootlessHost[] = [];
  const start = async (name: string): Promise<RootlessHost> => {
    const host = await RootlessHost.start(name, first);
    started.push(host);
    return host;
  };
  const close = async (): Promise<void> => {
    for (const host of started) await host.close();
  };
  return settle(close, stage, why, () => boot(names, start));
}

/** One after the other: a lab's network is made by the first. */
async function boot(
  [first, second]: readonly [string, string],
  start: (name: string) => Promise<ManagedHost>,
): Promise<readonly [ManagedHost, ManagedHost]> {
  return [await start(first), await start(second)];
}

async function settle(
  close: () => Promise<void>,
  stage: Stage,
  why: string | undefined,
  start: () => Promise<readonly [ManagedHost, ManagedHost]>,
): Promise<GateStage> {
  try {
    const hosts = await start();
    for (const host of hosts) await prepare(stage, host);
    return { why, hosts, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function prepare(stage: Stage, host: ManagedHost): Promise<void> {
  const { name, address, port, hostKey } = host.target;
  const keyFile = join(stage.folder, `${name}.pub`);
  writeFileSync(keyFile, `${hostKey}\n`);
  const added = await stage.beacon('ada', [
    ...['ca', 'host', 'add', name, '--address', `${address}:${port ?? 22}`, '--login', host.login],
    ...['--label', 'stage=demo', '--pool', 'sites', '--host-key', keyFile, '--json'],
  ]);
  if (added.status !== 0) throw new Error(`beacon ca host add failed:\n${added.stdout}${added.stderr}`);
  await host.certifyHostKey((JSON.parse(added.stdout) as { certificate: string }).certificate);
  const sites = host.at('var/tmp/sites');
  await host.script(`mkdir -p ${sites}; chmod 1777 ${sites}`);
  const how = { timeout_seconds: 60, run_as: host.runsAs };
  const withName = async (command: keyof typeof COMMANDS, body: string, words: readonly string[]) => ({
    ...COMMANDS[command],
    ...how,
    argv: [await host.command(command.replace('.', '-'), body), ...words],
  });
  await host.allow({
    version: 1,
    commands: {
      'site.deploy': await withName(
        'site.deploy',
        `echo "deploying $1 as $(id -un)"; sleep 1; touch ${sites}/"$1"; echo "$1 is live"`,
        ['{name}'],
      ),
      'site.withdraw': await withName('site.withdraw', `rm -f ${sites}/"$1"`, ['{name}']),
      'site.watch': await withName('site.watch', 'echo "watching $1"; sleep 4242 & wait', ['{name}']),
      'site.wipe': await withName('site.wipe', `rm -f ${sites}/*`, []),
    },
  });
}
