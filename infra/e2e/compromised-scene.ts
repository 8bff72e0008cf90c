/**
 * What stands around a broker that is taken over: the commands of its host and the policy about them, a service that it is
 * not, repositories whose runners Alice administers, and a host that no policy gives her by this broker.
 */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateKey } from '@beacon/ssh/key';
import { formatPublicKeyLine } from '@beacon/ssh/public-key';
import type { Stage } from '../demo/stage.ts';
import { succeed } from '../demo/trust-ceremony.ts';
import type { InitHost } from '../lab/init-host.ts';

/** A service beside the broker, which takes tokens of its own. */
export const OTHER = 'other';

const COMMANDS = {
  'mark.set': {
    summary: 'Leave a mark',
    params: { name: { pattern: '[a-z]{1,20}' }, token: { pattern: '[a-z]{1,20}', secret: true } },
  },
  'mark.wipe': { summary: 'Take all marks away', params: {} },
};

/** Marks by any service, for five minutes; all else by hand alone. Another service, which the broker is not. */
export async function prepare(caFolder: string, stage: Stage): Promise<void> {
  const inventory = join(caFolder, 'inventory.yaml');
  const { commands } = JSON.parse(readFileSync(inventory, 'utf8')) as { commands: object };
  writeFileSync(inventory, JSON.stringify({ version: 1, commands: { ...commands, ...COMMANDS } }));
  appendFileSync(
    join(caFolder, 'policy', 'policy.cedar'),
    `
@id("web-team-marks")
@max_lifetime("10m")
permit (principal in Team::"github:7001", action == Action::"mark.set", resource in Pool::"sites");

@id("web-team-by-hand")
@max_lifetime("10m")
permit (
  principal in Team::"github:7001",
  action in [Action::"mark.set", Action::"mark.wipe"],
  resource
) when { context.service == "beacon-cli" };

@id("web-team-logs-in-at-sites")
@max_lifetime("10m")
permit (principal in Team::"github:7001", action == Action::"ssh", resource in Pool::"sites")
when { context.login == "beacon" };
`,
  );
  const keyFile = join(stage.folder, 'other.jwk');
  const made = succeed(await stage.beacon('operator', ['ca', 'service', 'key', OTHER, '--out', keyFile]));
  const entry = made.replace(/may: \[\].*/, 'may: [exchange]');
  appendFileSync(join(caFolder, 'services.yaml'), entry);
}

export async function lay(host: InitHost): Promise<Record<string, object>> {
  await host.script('install -m 666 /dev/null /var/tmp/marks');
  const how = { timeout_seconds: 30, run_as: host.runsAs };
  const set = await host.command('mark-set', 'read -r token; echo "set $1" >>/var/tmp/marks');
  const wipe = await host.command('mark-wipe', 'echo wipe >>/var/tmp/marks');
  return {
    'mark.set': { ...COMMANDS['mark.set'], ...how, argv: [set, '{name}'] },
    'mark.wipe': { ...COMMANDS['mark.wipe'], ...how, argv: [wipe] },
  };
}

/** Two repositories whose runners Alice administers. */
export function addRepositories({ standin: { state } }: Stage): void {
  for (const name of ['app', 'other']) {
    const there = [...state.runners.repositories.values()].find((one) => one.name === name);
    const repository = there ?? state.runners.addRepository({ owner: 7000, name });
    repository.roles.set(102, 'admin');
  }
}

/** A host of another pool, which no policy gives her by the broker. Nothing is there. */
export async function addHost(stage: Stage): Promise<void> {
  const keyFile = join(stage.folder, 'prod.pub');
  writeFileSync(keyFile, `${formatPublicKeyLine(generateKey('ssh-ed25519').publicKey)}\n`);
  const words = ['ca', 'host', 'add', 'prod-01', '--address', '127.0.0.1:2222', '--login', 'beacon'];
  succeed(await stage.beacon('ada', [...words, '--pool', 'prod', '--host-key', keyFile]));
}
