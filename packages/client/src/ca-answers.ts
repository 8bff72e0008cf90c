/** What the CA's API answers (`@beacon/protocol/http`), read by hand into values: times as `Date`, serials as bigint. */
import type { Json } from '@beacon/protocol/strict-json';
import type { Answer } from './answer.ts';

/** The record that was durable before the answer was given: whoever keeps it holds an anchor of the chain. */
export interface RecordReference {
  readonly seq: number;
  readonly hash: string;
}

export interface Host {
  readonly id: string;
  readonly state: 'enabled' | 'disabled';
  readonly logins: readonly string[];
  readonly address?: string;
  readonly port?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly pools?: readonly string[];
  /** Fingerprint of the host's own key. */
  readonly hostKey?: string;
}

/** In the words of the host's allowlist. */
export interface HostCommand {
  readonly command: string;
  readonly summary: string;
  /** The one to ask for. */
  readonly login: string;
  readonly params: Readonly<Record<string, { readonly pattern: string; readonly secret?: boolean }>>;
  readonly undo?: string;
  readonly timeout_seconds?: number;
  readonly offered: 'host' | 'inventory';
  /** `depends`: on the parameters. */
  readonly allowed: 'yes' | 'no' | 'depends';
  readonly reason: { readonly code: string; readonly text: string };
  readonly missing: readonly Readonly<Record<string, Json>>[];
}

export interface PersonSession {
  readonly id: string;
  readonly person: string;
  /** Only shown: a person is their numeric id. */
  readonly name: string;
  readonly client: string;
  readonly startedAt: Date;
  readonly endsAt: Date;
  readonly current: boolean;
}

export interface Whoami {
  readonly session: PersonSession;
  readonly service: string;
  readonly memberships: {
    readonly readAt: Date;
    readonly organizations: readonly string[];
    readonly teams: readonly string[];
    readonly unknown: readonly { readonly id: string; readonly name?: string; readonly why: string }[];
  };
}

export interface Decision {
  readonly allowed: boolean;
  readonly reason: { readonly code: string; readonly text: string };
  /** What one change would have allowed it; shown by kind. */
  readonly missing: readonly Readonly<Record<string, Json>>[];
  readonly policies: readonly string[];
  readonly policyVersion: string;
  readonly limits?: { readonly maxLifetimeSeconds: number; readonly extensions: readonly string[] };
  readonly record: RecordReference;
}

/** The certificate as it came: {@link verifyIssued} decides whether it is used. */
export interface IssuedAnswer {
  readonly certificate: string;
  readonly serial: bigint;
  readonly grant: string;
  readonly shortenedBySession: boolean;
  readonly policies: readonly string[];
  readonly host: {
    readonly id: string;
    readonly address: string;
    readonly port: number;
    readonly certificateAuthorities: readonly string[];
  };
  readonly record: RecordReference;
}

export interface CertificateEntry {
  readonly serial: bigint;
  readonly kind: 'user' | 'host';
  readonly person?: string;
  readonly host: string;
  readonly login?: string;
  readonly grant?: string;
  readonly commands: readonly string[];
  readonly validAfter: Date;
  readonly validBefore: Date;
  readonly revoked: boolean;
}

export interface RegisteredHost {
  readonly host: Host;
  /** The host certificate, one line. */
  readonly certificate: string;
  readonly serial: bigint;
  readonly validBefore: Date;
  readonly record: RecordReference;
}

export interface Revocation {
  readonly revoked: readonly bigint[];
  readonly already: number;
  readonly sessionsEnded: number;
  readonly record: RecordReference;
}

export interface PersonChanged {
  readonly person: string;
  readonly state: 'enabled' | 'disabled';
  readonly sessionsEnded: number;
  readonly record: RecordReference;
}

export interface DisabledPerson {
  readonly person: string;
  readonly since: Date;
  readonly by: string;
  readonly reason: string;
}

export interface AuthorityKey {
  /** One OpenSSH public key line. */
  readonly publicKey: string;
  readonly fingerprint: string;
  readonly state: 'active' | 'revoked';
}

export interface AuthorityKeys {
  readonly user: readonly AuthorityKey[];
  readonly host: readonly AuthorityKey[];
}

export interface RecordPage {
  /** The exact lines, to be hashed as they are. */
  readonly records: readonly string[];
  readonly head: RecordReference;
}

const ADDRESS = /^(?!-)[A-Za-z0-9.:-]{1,253}$/;

export function readRecordReference(answer: Answer): RecordReference {
  return { seq: answer.integer('seq', 0), hash: answer.text('hash', 64) };
}

export function readHost(answer: Answer): Host {
  return {
    id: answer.name('id', 'host'),
    state: answer.word('state', ['enabled', 'disabled']),
    logins: answer.texts('logins', 32),
    ...(answer.has('address') ? { address: readAddress(answer) } : {}),
    ...(answer.has('port') ? { port: answer.integer('port', 1, 65_535) } : {}),
    ...(answer.has('labels') ? { labels: answer.map('labels') } : {}),
    ...(answer.has('pools') ? { pools: answer.texts('pools', 100) } : {}),
    ...(answer.has('host_key') ? { hostKey: answer.text('host_key', 200) } : {}),
  };
}

export function readHostCommand(answer: Answer): HostCommand {
  const reason = answer.object('reason');
  const params = answer.object('params');
  return {
    command: answer.name('command', 'command'),
    summary: answer.text('summary', 1000),
    login: answer.name('login', 'login'),
    params: Object.fromEntries(
      Object.keys(params.fields()).map((name) => {
        const parameter = params.object(name);
        const isSecret = parameter.has('secret') && parameter.boolean('secret');
        return [name, { pattern: parameter.text('pattern'), ...(isSecret ? { secret: true } : {}) }];
      }),
    ),
    ...(answer.has('undo') ? { undo: answer.name('undo', 'command') } : {}),
    ...(answer.has('timeout_seconds') ? { timeout_seconds: answer.integer('timeout_seconds', 1) } : {}),
    offered: answer.word('offered', ['host', 'inventory']),
    allowed: answer.word('allowed', ['yes', 'no', 'depends']),
    reason: { code: reason.text('code', 100), text: reason.text('text', 4000) },
    missing: answer.objects('missing').map((one) => one.fields()),
  };
}

export function readPersonSession(answer: Answer): PersonSession {
  return {
    id: answer.text('id', 64),
    person: answer.name('person', 'person'),
    name: answer.text('name', 200),
    client: answer.text('client', 200),
    startedAt: answer.time('started_at'),
    endsAt: answer.time('ends_at'),
    current: answer.boolean('current'),
  };
}

export function readWhoami(answer: Answer): Whoami {
  const memberships = answer.object('memberships');
  return {
    session: readPersonSession(answer.object('session')),
    service: answer.text('service', 200),
    memberships: {
      readAt: memberships.time('read_at'),
      organizations: memberships.texts('organizations', 200),
      teams: memberships.texts('teams', 200),
      unknown: memberships.objects('unknown').map((unknown) => ({
        id: unknown.text('id', 200),
        why: unknown.text('why', 1000),
        ...(unknown.has('name') ? { name: unknown.text('name', 200) } : {}),
      })),
    },
  };
}

export function readDecision(answer: Answer): Decision {
  const reason = answer.object('reason');
  const limits = answer.has('limits') ? answer.object('limits') : undefined;
  return {
    allowed: answer.boolean('allowed'),
    reason: { code: reason.text('code', 100), text: reason.text('text', 4000) },
    missing: answer.objects('missing').map((one) => one.fields()),
    policies: answer.texts('policies', 500),
    policyVersion: answer.text('policy_version', 200),
    ...(limits === undefined
      ? {}
      : {
          limits: {
            maxLifetimeSeconds: limits.integer('max_lifetime_seconds', 0),
            extensions: limits.texts('extensions', 200),
          },
        }),
    record: readRecordReference(answer.object('record')),
  };
}

export function readIssued(answer: Answer): IssuedAnswer {
  const host = answer.object('host');
  return {
    certificate: answer.text('certificate'),
    serial: answer.serial('serial'),
    grant: answer.text('grant', 64),
    shortenedBySession: answer.has('shortened_by'),
    policies: answer.texts('policies', 500),
    host: {
      id: host.name('id', 'host'),
      address: readAddress(host),
      port: host.integer('port', 1, 65_535),
      certificateAuthorities: host.texts('certificate_authorities', 8192),
    },
    record: readRecordReference(answer.object('record')),
  };
}

export function readCertificateEntry(answer: Answer): CertificateEntry {
  return {
    serial: answer.serial('serial'),
    kind: answer.word('kind', ['user', 'host']),
    ...(answer.has('person') ? { person: answer.name('person', 'person') } : {}),
    host: answer.name('host', 'host'),
    ...(answer.has('login') ? { login: answer.name('login', 'login') } : {}),
    ...(answer.has('grant') ? { grant: answer.text('grant', 64) } : {}),
    commands: answer.texts('commands', 100),
    validAfter: answer.time('valid_after'),
    validBefore: answer.time('valid_before'),
    revoked: answer.boolean('revoked'),
  };
}

export function readRegisteredHost(answer: Answer): RegisteredHost {
  return {
    host: readHost(answer.object('host')),
    certificate: answer.text('certificate'),
    serial: answer.serial('serial'),
    validBefore: answer.time('valid_before'),
    record: readRecordReference(answer.object('record')),
  };
}

export function readRevocation(answer: Answer): Revocation {
  return {
    revoked: answer.texts('revoked', 20).map((text) => (/^[1-9][0-9]*$/.test(text) ? BigInt(text) : 0n)),
    already: answer.integer('already', 0),
    sessionsEnded: answer.integer('sessions_ended', 0),
    record: readRecordReference(answer.object('record')),
  };
}

export function readPersonChanged(answer: Answer): PersonChanged {
  return {
    person: answer.name('person', 'person'),
    state: answer.word('state', ['enabled', 'disabled']),
    sessionsEnded: answer.integer('sessions_ended', 0),
    record: readRecordReference(answer.object('record')),
  };
}

export function readAuthorityKeys(answer: Answer): AuthorityKeys {
  const keys = (name: string) =>
    answer.objects(name).map((key) => ({
      publicKey: key.text('public_key', 8192),
      fingerprint: key.text('fingerprint', 200),
      state: key.word('state', ['active', 'revoked']),
    }));
  return { user: keys('user'), host: keys('host') };
}

/** An address goes into ssh's argv: one that looks like an option, or like a command, is refused. */
function readAddress(answer: Answer): string {
  return answer.matching('address', ADDRESS, 'an IP address or a DNS name');
}
