/**
 * Cases of `beacon policy test`: questions with the answers that reviewers expect, read strictly from a parsed file and
 * asked of the real engine.
 */
import { type Extension, knownExtensions } from './annotation.ts';
import type { PolicyEngine } from './engine.ts';
import { explain } from './explain.ts';
import { type AuthorityAction, authorityActions, type Inventory } from './inventory.ts';
import { formatLifetime, parseLifetime } from './lifetime.ts';
import type { CommandAsked, Decision, DenialCode, Invocation, PolicyRequest } from './request.ts';
import { type RecordReader, ValueReader } from './value-reader.ts';

/** One case. What a file leaves out: 15 minutes, service `beacon-cli`, source 192.0.2.1, noon of 2026-01-01 UTC. */
export interface PolicyCase {
  readonly name: string;
  readonly person: {
    readonly id: string;
    readonly teams: readonly string[];
    readonly organizations: readonly string[];
  };
  readonly unknownTeams: readonly string[];
  readonly unknownOrganizations: readonly string[];
  readonly asked: readonly CommandAsked[] | 'ssh' | { readonly authority: AuthorityAction };
  readonly host: string | null;
  readonly login: string | null;
  readonly lifetimeSeconds: number;
  readonly service: string;
  readonly source: string;
  readonly at: Date;
  readonly expect: 'allow' | 'deny';
  readonly reason: DenialCode | null;
  readonly limits: {
    readonly maxLifetimeSeconds: number | null;
    readonly extensions: readonly Extension[] | null;
  };
}

/** `difference` says in words how the answer differs from what was expected; null when it does not. */
export interface PolicyCaseResult {
  readonly name: string;
  readonly ok: boolean;
  readonly decision: Decision;
  readonly difference: string | null;
}

const denialCodes: readonly DenialCode[] = [
  'command',
  'extensions',
  'forbidden',
  'host',
  'lifetime',
  'login',
  'no-permit',
  'parameter',
  'person',
  'policy-error',
  'service',
  'source',
  'undo',
];

const caseKeys = [
  'at',
  'authority',
  'command',
  'commands',
  'expect',
  'host',
  'lifetime',
  'limits',
  'login',
  'name',
  'params',
  'person',
  'reason',
  'service',
  'source',
  'ssh',
  'undo',
] as const;
type CaseKey = (typeof caseKeys)[number];

/** Reads a list of cases; throws PolicyError `case` with the place of what is wrong. */
export function parseCases(value: unknown, file = 'cases'): PolicyCase[] {
  const names = new Set<string>();
  return new ValueReader('case', file, '', value).readList().map((each) => {
    const parsed = readCase(each.readRecord(caseKeys));
    if (names.has(parsed.name)) throw each.refuse(`there are two cases named "${parsed.name}".`);
    names.add(parsed.name);
    return parsed;
  });
}

function readCase(entry: RecordReader<CaseKey>): PolicyCase {
  const person = entry
    .read('person')
    .readRecord(['id', 'organizations', 'teams', 'unknown_organizations', 'unknown_teams']);
  const ids = (key: Parameters<typeof person.has>[0]): string[] =>
    person.has(key) ? person.read(key).readTexts() : [];
  const text = (key: CaseKey): string | null => (entry.has(key) ? entry.read(key).readText() : null);
  const expect = entry.read('expect').readWord(['allow', 'deny']);
  const asked = readAsked(entry);
  const onHost = typeof asked !== 'object' || !('authority' in asked);
  for (const key of ['host', 'login', 'lifetime', 'limits'] as const) {
    if (!onHost && entry.has(key))
      throw entry.read(key).refuse('does not belong to a question about the CA itself.');
  }
  if (entry.has('reason') && expect === 'allow') throw entry.read('reason').refuse('belongs to a denial.');
  if (entry.has('limits') && expect === 'deny') throw entry.read('limits').refuse('belongs to a permission.');
  return {
    name: entry.read('name').readText(),
    person: { id: person.read('id').readText(), teams: ids('teams'), organizations: ids('organizations') },
    unknownTeams: ids('unknown_teams'),
    unknownOrganizations: ids('unknown_organizations'),
    asked,
    host: onHost ? entry.read('host').readText() : null,
    login: text('login'),
    lifetimeSeconds: entry.has('lifetime') ? readLifetime(entry.read('lifetime')) : 900,
    service: text('service') ?? 'beacon-cli',
    source: text('source') ?? '192.0.2.1',
    at: entry.has('at') ? readTime(entry.read('at')) : new Date('2026-01-01T12:00:00.000Z'),
    expect,
    reason: entry.has('reason') ? entry.read('reason').readWord(denialCodes) : null,
    limits: entry.has('limits')
      ? readLimits(entry.read('limits'))
      : { maxLifetimeSeconds: null, extensions: null },
  };
}

function readAsked(entry: RecordReader<CaseKey>): PolicyCase['asked'] {
  const kinds = (['authority', 'command', 'commands', 'ssh'] as const).filter((key) => entry.has(key));
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1)
    throw entry.refuse('ask exactly one of: command, commands, ssh, authority.');
  for (const key of ['params', 'undo'] as const) {
    if (kind !== 'command' && entry.has(key)) throw entry.read(key).refuse('belongs beside "command".');
  }
  switch (kind) {
    case 'authority':
      return { authority: entry.read('authority').readWord(authorityActions) };
    case 'ssh':
      if (!entry.read('ssh').readBoolean()) throw entry.read('ssh').refuse('is either true or left out.');
      return 'ssh';
    case 'command':
      return [readCommand(entry)];
    case 'commands':
      return entry
        .read('commands')
        .readList()
        .map((each) => readCommand(each.readRecord(['command', 'params', 'undo'])));
  }
}

function readCommand(entry: RecordReader<'command' | 'params' | 'undo'>): CommandAsked {
  const undo = entry.has('undo')
    ? readInvocation(entry.read('undo').readRecord(['command', 'params']))
    : undefined;
  return { ...readInvocation(entry), ...(undo === undefined ? {} : { undo }) };
}

function readInvocation(entry: RecordReader<'command' | 'params'>): Invocation {
  const params = entry.has('params') ? entry.read('params').readEntries() : [];
  return {
    command: entry.read('command').readText(),
    params: Object.fromEntries(params.map(([name, value]) => [name, value.readText()])),
  };
}

/** A lifetime may be one that is refused (`2h`, `10s`): cases show denials too. */
function readLifetime(entry: ValueReader): number {
  const text = entry.readText();
  const found = /^([1-9][0-9]{0,4})([smh])$/.exec(text);
  if (found === null) throw entry.refuse('is written like "900s", "15m", "1h".');
  return Number(found[1]) * (found[2] === 'h' ? 3600 : found[2] === 'm' ? 60 : 1);
}

function readTime(entry: ValueReader): Date {
  const text = entry.readText();
  const time = new Date(text);
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text) || Number.isNaN(time.getTime())) {
    throw entry.refuse('is a time in UTC, written like "2026-01-01T12:00:00Z" (in quotes).');
  }
  return time;
}

function readLimits(entry: ValueReader): PolicyCase['limits'] {
  const limits = entry.readRecord(['extensions', 'max_lifetime']);
  const lifetime = limits.has('max_lifetime') ? parseLifetime(limits.read('max_lifetime').readText()) : null;
  if (limits.has('max_lifetime') && lifetime === null) {
    throw limits.read('max_lifetime').refuse('is written like "900s", "15m", "1h", from 30s to 1h.');
  }
  const extensions = limits.has('extensions')
    ? limits
        .read('extensions')
        .readList()
        .map((each) => each.readWord(knownExtensions))
    : null;
  return { maxLifetimeSeconds: lifetime, extensions: extensions === null ? null : [...extensions].sort() };
}

/** Asks every case; a result for each, in order. */
export function runPolicyCases(
  engine: PolicyEngine,
  inventory: Inventory,
  cases: readonly PolicyCase[],
): PolicyCaseResult[] {
  return cases.map((each) => {
    const decision = engine.decide(requestOf(each, inventory));
    const difference = differenceOf(each, decision);
    return { name: each.name, ok: difference === null, decision, difference };
  });
}

function requestOf(each: PolicyCase, inventory: Inventory): PolicyRequest {
  const unknown = (ids: readonly string[]) => ids.map((id) => ({ id, why: 'sso' as const }));
  const asker = {
    person: {
      id: each.person.id,
      teams: { in: each.person.teams, unknown: unknown(each.unknownTeams) },
      organizations: { in: each.person.organizations, unknown: unknown(each.unknownOrganizations) },
    },
    service: each.service,
    sourceAddress: each.source,
    now: each.at,
  };
  const { asked } = each;
  if (typeof asked === 'object' && 'authority' in asked) return { ...asker, commands: asked };
  const id = each.host ?? '';
  const host = Object.hasOwn(inventory.hosts, id) ? (inventory.hosts[id] ?? null) : null;
  const onlyLogin = host?.logins.length === 1 ? host.logins[0] : undefined;
  return {
    ...asker,
    commands: asked,
    host,
    login: each.login ?? onlyLogin ?? '',
    lifetimeSeconds: each.lifetimeSeconds,
  };
}

function differenceOf(expected: PolicyCase, decision: Decision): string | null {
  if (decision.allowed !== (expected.expect === 'allow'))
    return `expected ${expected.expect}, got: ${explain(decision)}`;
  if (!decision.allowed) {
    if (expected.reason === null || expected.reason === decision.reason.code) return null;
    return `expected the reason "${expected.reason}", got "${decision.reason.code}": ${decision.reason.text}`;
  }
  const { maxLifetimeSeconds, extensions } = expected.limits;
  if (maxLifetimeSeconds !== null && maxLifetimeSeconds !== decision.limits.maxLifetimeSeconds) {
    const got = formatLifetime(decision.limits.maxLifetimeSeconds);
    return `expected at most ${formatLifetime(maxLifetimeSeconds)}, got ${got}`;
  }
  if (extensions !== null && extensions.join(' ') !== decision.limits.extensions.join(' ')) {
    return `expected the extensions [${extensions.join(', ')}], got [${decision.limits.extensions.join(', ')}]`;
  }
  return null;
}
