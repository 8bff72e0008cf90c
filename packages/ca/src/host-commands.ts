/**
 * What a person may run on a host through a service, before the parameters are known: `GET /v1/hosts/{id}/commands`, and
 * which hosts a service lists for a person. Information for who chooses: what counts is decided when a certificate is
 * asked for.
 */
import { type CommandProspect, type Foresight, unmapAddress } from '@beacon/policy';
import { MIN_LIFETIME_SECONDS } from '@beacon/protocol/http/certificates';
import type { HostCommand, HostCommands } from '@beacon/protocol/http/host-commands';
import type { Caller } from './access-token.ts';
import type { Ca, Memberships } from './ca.ts';
import { type Contract, inventoryOf, type OfferedCommand, readContracts } from './host-contract.ts';
import { findHost, type Host, hostRefusal } from './hosts.ts';
import { pinRules } from './rules.ts';
import { serviceRefusal } from './services.ts';
import { createTurns } from './turn.ts';

/** Who asks, through what, from where: the same for all commands of one request. */
export interface Asking {
  readonly caller: Caller;
  readonly memberships: Memberships;
  readonly ip: string;
}

type Found = Foresight & { readonly login: string };

/** The login that runs enter, where a host has it. */
const RUN_LOGIN = 'beacon';

/** The commands that a host offers, or `only` these and their undos, each with what policy says. Throws CaError `host-unknown`. */
export async function listHostCommands(
  running: Ca,
  caller: Caller,
  id: string,
  { ip, only }: { readonly ip: string; readonly only?: readonly string[] | undefined },
): Promise<HostCommands> {
  const ca = pinRules(running);
  const host = await findHost(ca, id);
  const contract = reduced((await readContracts(ca, id)).get(id) ?? inventoryOf(ca), only);
  const refusal = serviceRefusal(ca, caller.service, 'run-certificates') ?? hostRefusal(host);
  if (refusal !== undefined) {
    const reason = { code: refusal.code, text: refusal.message };
    const none = { allowed: 'no' as const, reason, missing: [], login: loginsForRuns(host)[0] ?? '' };
    return { commands: inOrder(contract).map((offered) => entry(offered, contract, none)) };
  }
  const asking = { caller, memberships: await ca.memberships(caller, ca.policy), ip };
  const nextTurn = createTurns();
  const commands: HostCommand[] = [];
  for (const offered of inOrder(contract)) {
    const found = foreseeOnHost(ca, asking, host, offered.name);
    commands.push(
      entry(offered, contract, found.allowed === 'no' ? found : (mismatch(ca, offered, found) ?? found)),
    );
    await nextTurn();
  }
  return { commands };
}

/** With what takes them back. */
function reduced(contract: Contract, only: readonly string[] | undefined): Contract {
  if (only === undefined) return contract;
  const named = contract.commands.filter(({ name }) => only.includes(name));
  const wanted = new Set(named.flatMap(({ name, undo }) => (undo === undefined ? [name] : [name, undo])));
  return { ...contract, commands: contract.commands.filter(({ name }) => wanted.has(name)) };
}

/** Of these hosts, those on which the person may run something through this service, or may with some parameters. */
export async function findRunHosts(ca: Ca, asking: Asking, hosts: readonly Host[]): Promise<Set<string>> {
  const contracts = await readContracts(ca);
  const inventory = inventoryOf(ca);
  const nextTurn = createTurns();
  const named = new Set(ca.policy.namedHosts);
  const answers = new Map<string, boolean>();
  const found = new Set<string>();
  for (const host of hosts) {
    const { commands } = contracts.get(host.id) ?? inventory;
    const alike = likenessOf(host, commands, named);
    const isUsable =
      answers.get(alike) ??
      commands.some(({ name }) =>
        host.logins.some((login) => ca.policy.mayAllow(prospectOf(ca, asking, host, login, name))),
      );
    answers.set(alike, isUsable);
    if (isUsable) found.add(host.id);
    await nextTurn();
  }
  return found;
}

/** The same for hosts that no policy tells apart: in a fleet most are. */
function likenessOf(
  { id, logins, labels, pools }: Host,
  commands: readonly OfferedCommand[],
  named: ReadonlySet<string>,
): string {
  const names = commands.map(({ name }) => name);
  return JSON.stringify([named.has(id) ? id : null, logins, Object.entries(labels), pools, names]);
}

/** What policy would say of the command, by the login of which it says most. */
export function foreseeOnHost(ca: Ca, asking: Asking, host: Host, command: string): Found {
  const [first = '', ...others] = loginsForRuns(host);
  let best: Found = { ...ca.policy.foresee(prospectOf(ca, asking, host, first, command)), login: first };
  for (const login of others) {
    if (best.allowed === 'yes') break;
    const prospect = prospectOf(ca, asking, host, login, command);
    if (!ca.policy.mayAllow(prospect)) continue;
    const found = ca.policy.foresee(prospect);
    if (best.allowed === 'no' || found.allowed === 'yes') best = { ...found, login };
  }
  return best;
}

/** A denial where the host takes other parameters than the inventory names: no request could satisfy both. */
function mismatch(ca: Ca, offered: OfferedCommand, found: Found): Found | undefined {
  const known = ca.policy.commands[offered.name];
  const [here, there] = [known === undefined ? '' : formOf(known), formOf(offered)];
  if (here === there) return undefined;
  const text = `On the host, ${offered.name} takes ${there}; the CA's inventory says ${here}: ask an administrator to bring them together.`;
  return { ...found, allowed: 'no', reason: { code: 'parameter', text }, missing: [] };
}

/** The parameters and the undo of a command, in words. */
function formOf({ params, undo }: Pick<OfferedCommand, 'params' | 'undo'>): string {
  const names = Object.entries(params)
    .map(([name, { secret }]) => (secret === true ? `${name} (secret)` : name))
    .sort();
  return `${names.join(', ') || 'nothing'}${undo === undefined ? '' : ` and is undone by ${undo}`}`;
}

/** A host's logins, that of runs first. */
function loginsForRuns({ logins }: Host): readonly string[] {
  return logins.toSorted((a, b) => Number(b === RUN_LOGIN) - Number(a === RUN_LOGIN));
}

function inOrder({ commands }: Contract): readonly OfferedCommand[] {
  return commands.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function entry(
  { name, summary, params, undo, timeoutSeconds }: OfferedCommand,
  { by }: Contract,
  {
    login,
    allowed,
    reason,
    missing,
  }: Pick<Found, 'login' | 'allowed' | 'missing'> & {
    readonly reason: HostCommand['reason'];
  },
): HostCommand {
  return {
    command: name,
    summary: summary ?? '',
    login,
    params: { ...params },
    ...(undo === undefined ? {} : { undo }),
    ...(timeoutSeconds === undefined ? {} : { timeout_seconds: timeoutSeconds }),
    offered: by,
    allowed,
    reason: { ...reason },
    missing: missing.map((each) => ({ ...each })),
  };
}

function prospectOf(
  ca: Ca,
  { caller, memberships, ip }: Asking,
  { id, logins, labels, pools }: Host,
  login: string,
  command: string,
): CommandProspect {
  return {
    person: { id: caller.person, teams: memberships.teams, organizations: memberships.organizations },
    host: { id, logins, labels, pools },
    login,
    lifetimeSeconds: MIN_LIFETIME_SECONDS,
    command,
    service: caller.service,
    sourceAddress: unmapAddress(ip),
    now: ca.now(),
  };
}
