/**
 * What a managed host of the demo needs to run GitHub's runner with the stand-in in GitHub's place, and what the CA is told
 * of it: the runner commands for the inventory, and a policy by which the web team may have runners for `example/`.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { InitHost } from '../lab/init-host.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const ALLOWLIST = join(ROOT, 'packages', 'host', 'files', 'runner-allowlist.json');

interface Entry {
  readonly summary: string;
  readonly params?: object;
  readonly undo?: string;
}

/** The runner commands that ship, in the form of the CA's inventory. */
export function runnerInventory(): Readonly<Record<string, object>> {
  const { commands } = JSON.parse(readFileSync(ALLOWLIST, 'utf8')) as { commands: Record<string, Entry> };
  return Object.fromEntries(
    Object.entries(commands).map(([name, { summary, params = {}, undo }]) => [
      name,
      { summary, params, ...(undo === undefined ? {} : { undo }) },
    ]),
  );
}

/** Lets the web team have runners for repositories of `example`, and nobody's else, on the hosts of the pool `sites`. */
export function permitRunners(caFolder: string): void {
  const others = Object.keys(runnerInventory()).filter((name) => name !== 'runner.configure');
  appendFileSync(
    join(caFolder, 'policy', 'policy.cedar'),
    `
@id("web-team-has-runners")
@max_lifetime("1h")
permit (
  principal in Team::"github:7001",
  action in [${others.map((name) => `Action::"${name}"`).join(', ')}],
  resource in Pool::"sites"
);

@id("web-team-registers-for-example")
@max_lifetime("1h")
permit (
  principal in Team::"github:7001",
  action == Action::"runner.configure",
  resource in Pool::"sites"
) when { context.params.scope like "example/*" };

@id("web-team-looks")
@max_lifetime("15m")
permit (
  principal in Team::"github:7001",
  action in [Action::"gate.state", Action::"gate.records"],
  resource in Pool::"sites"
);
`,
  );
}

/** What `beacon host init` is told for a host whose runners find the stand-in in GitHub's place. */
export function runnerWords(standinUrl: string, runners = 3): readonly string[] {
  const downloads = `${standinUrl}/actions/runner/releases/download`;
  return ['--runners', String(runners), '--github-url', standinUrl, '--runner-downloads', downloads];
}

/** Adds entries to the allowlist that `init` has laid down, and asks for less room than a real runner wants. */
export async function offerMore(host: InitHost, commands: Readonly<Record<string, object>>): Promise<void> {
  const text = await host.script('cat /etc/beacon/allowlist.json');
  const list = JSON.parse(text.replace('"4194304"', '"1024"')) as { commands: object };
  await host.allow({ ...list, commands: { ...list.commands, ...commands } });
}
