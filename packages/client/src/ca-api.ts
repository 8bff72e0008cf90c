/**
 * The CA's API as typed calls. Every call but the public ones travels with the person's token and a proof over the exact
 * body; a refusal is a ClientError `refused` whose `problem` says which rule, and what one change would allow.
 */
import type { Buffer } from 'node:buffer';
import type { CertificateRequest, DecisionRequest } from '@beacon/protocol/http/certificates';
import type { HostTokenRequest } from '@beacon/protocol/http/enrolment';
import type { HostRequest } from '@beacon/protocol/http/hosts';
import type { RevocationRequest } from '@beacon/protocol/http/revocations';
import type { ActivationRequest } from '@beacon/protocol/http/rotation';
import type { PublishedRoot } from '@beacon/protocol/http/trust';
import type { Answer } from './answer.ts';
import {
  type AuthorityKeys,
  type CertificateEntry,
  type Decision,
  type DisabledPerson,
  type Host,
  type HostCommand,
  type IssuedAnswer,
  type PersonChanged,
  type PersonSession,
  type RecordPage,
  type RecordReference,
  type RegisteredHost,
  type Revocation,
  readAuthorityKeys,
  readCertificateEntry,
  readDecision,
  readHost,
  readHostCommand,
  readIssued,
  readPersonChanged,
  readPersonSession,
  readRecordReference,
  readRegisteredHost,
  readRevocation,
  readWhoami,
  type Whoami,
} from './ca-answers.ts';
import { type CaRequest, requestAuthorized, requestPublic } from './ca-request.ts';
import { defaultOutside, type Outside } from './exchange.ts';
import { json, queryOf, read, segment } from './request-parts.ts';
import type { Credentials } from './session.ts';

export interface CaApi {
  whoami(): Promise<Whoami>;
  /** One's own sessions, or with the right to it another person's. */
  sessions(person?: string): Promise<readonly PersonSession[]>;
  endSession(id: string): Promise<RecordReference>;
  hosts(): Promise<readonly Host[]>;
  host(id: string): Promise<Host>;
  /** What the host offers, or `only` these commands and their undos, and what of it the person may run through this service. */
  hostCommands(id: string, only?: readonly string[]): Promise<readonly HostCommand[]>;
  registerHost(request: Omit<HostRequest, 'v'>): Promise<RegisteredHost>;
  changeHost(id: string, change: 'disable' | 'enable', reason: string): Promise<Host>;
  /** Makes a token by which a machine becomes a host; it is told this once. */
  makeHostToken(request: HostTokenWish): Promise<MadeHostToken>;
  hostTokens(): Promise<readonly HostToken[]>;
  revokeHostToken(id: string): Promise<RecordReference>;
  /** How each host stands; with the right to administer hosts. */
  hostReports(): Promise<readonly HostStanding[]>;
  /** How far the records of services go, as they reported it; with the same right. */
  serviceHeads(): Promise<readonly ServiceHead[]>;
  /** Tells the CA how far a service's own records go, and those of hosts as their gates told. Refused if not further. */
  reportHeads(head: RecordReference, hosts: readonly SeenHead[]): Promise<void>;
  changePerson(person: string, change: 'disable' | 'enable', reason: string): Promise<PersonChanged>;
  disabledPersons(): Promise<readonly DisabledPerson[]>;
  /** The exact body is the caller's, because a key to be certified has signed it. */
  requestCertificate(body: Buffer<ArrayBuffer>, keyProof: string): Promise<IssuedAnswer>;
  certificates(query: Readonly<Record<string, string>>): Promise<readonly CertificateEntry[]>;
  certificate(serial: bigint): Promise<CertificateEntry>;
  decide(request: Omit<DecisionRequest, 'v'>): Promise<Decision>;
  /** The person's GitHub token, for a service with the right to it: keep it in memory, forget it with the run. */
  githubToken(
    purpose: { readonly grant: string } | { readonly host: string; readonly command: string },
  ): Promise<string>;
  revoke(request: RevocationRequest): Promise<Revocation>;
  /** Answers the version that is published now. `now`: CA keys that it leaves out are revoked. */
  publishTrustRoot(root: PublishedRoot & { readonly now?: boolean }): Promise<number>;
  /** The CA keys that hosts may trust, the hosts that do not trust them yet, and what depends on former ones. */
  rotation(): Promise<Rotation>;
  activateKey(request: Omit<ActivationRequest, 'v'>): Promise<RecordReference>;
  records(query: Readonly<Record<string, string>>): Promise<RecordPage>;
  /** Public, as are the next two. */
  authorityKeys(): Promise<AuthorityKeys>;
  /** A compact JWS; `verifyCheckpoint` reads it. */
  checkpoint(): Promise<string>;
  /** The revocation list in OpenSSH's binary form. */
  revocationList(): Promise<Buffer>;
}

/** What a token is asked for with; the message's version is added. */
export type HostTokenWish = HostTokenRequest extends infer Each
  ? Each extends HostTokenRequest
    ? Omit<Each, 'v'>
    : never
  : never;

export interface MadeHostToken {
  readonly id: string;
  readonly token: string;
  readonly expires: Date;
}

export interface Rotation {
  /** The version of the newest trust root. */
  readonly root: number;
  readonly keys: readonly RotatingKey[];
  /** Enabled hosts that reported nothing within a day. */
  readonly unseen: readonly string[];
}

export interface RotatingKey {
  /** `user` or `host`. */
  readonly kind: string;
  readonly fingerprint: string;
  /** `next`, `signs` or `former`. */
  readonly state: string;
  readonly inUse: boolean;
  /** Whether the CA has its private half. */
  readonly opened: boolean;
  readonly revoked: boolean;
  /** The first of the roots that name it without a gap. */
  readonly since: number;
  readonly waiting: readonly { readonly id: string; readonly root: number; readonly seen: Date }[];
  /** Of a former key: when the last certificate of a person ends, and the hosts whose certificate is of it. */
  readonly heldUntil: Date | undefined;
  readonly heldBy: readonly string[];
}

export interface HostStanding {
  readonly id: string;
  readonly state: 'enabled' | 'disabled';
  /** What it said last. */
  readonly report: HostReport | undefined;
  readonly certificate:
    | { readonly serial: bigint; readonly authority: string; readonly validBefore: Date }
    | undefined;
  /** What should be looked at, such as `unseen`. */
  readonly warnings: readonly string[];
}

export interface HostReport {
  readonly seen: Date;
  readonly clockOffSeconds: number;
  readonly versions: { readonly beacon: string; readonly sshd: string };
  readonly trust: { readonly root: number; readonly status: number };
  /** SHA-256 of its allowlist. */
  readonly contract: string | undefined;
  /** Of its own records. */
  readonly head: { readonly seq: number; readonly hash: string };
  readonly headRefused: Date | undefined;
}

export interface ServiceHead {
  readonly service: string;
  readonly seen: Date;
  /** Of its own records. */
  readonly head: RecordReference;
  readonly headRefused: Date | undefined;
}

/** The head of a host's records as a service saw it. */
export interface SeenHead {
  readonly host: string;
  readonly head: RecordReference;
}

export interface HostToken {
  readonly id: string;
  /** The host id, or the pattern. */
  readonly hosts: string;
  readonly person: string;
  readonly expires: Date;
  readonly usesLeft: number;
}

/** A page of records holds at most 500 lines. */
const MAX_RECORDS_BYTES = 8 * 1024 * 1024;
/** A million random serials make a list of 8 MB. */
const MAX_KRL_BYTES = 32 * 1024 * 1024;

/** The body of a certificate request: these exact bytes are signed, hashed and sent. */
export function certificateBody(request: Omit<CertificateRequest, 'v'>): Buffer<ArrayBuffer> {
  return json(request);
}

/** The calls, made with these credentials. */
export function createCaApi(credentials: Credentials, outside: Outside = defaultOutside()): CaApi {
  const ask = (request: CaRequest) => requestAuthorized(outside, credentials, request);
  const get = async (path: string, place: string) => read(await ask({ method: 'GET', path }), place);
  const post = async (path: string, body: object, place: string) =>
    read(await ask({ method: 'POST', path, body: json(body) }), place);
  const ofPublic = (path: string, maxBytes?: number) =>
    requestPublic(outside, `${credentials.issuer}${path}`, maxBytes === undefined ? {} : { maxBytes });
  const reports = async () =>
    read(
      await ask({ method: 'GET', path: '/v1/host-reports', maxBytes: MAX_RECORDS_BYTES }),
      'the host reports',
    );

  return {
    whoami: async () => readWhoami(await get('/v1/sessions/current', 'the session')),
    sessions: async (person) =>
      (await get(`/v1/sessions${queryOf(person === undefined ? {} : { person })}`, 'the sessions'))
        .objects('sessions')
        .map(readPersonSession),
    endSession: async (id) => {
      const answer = await ask({ method: 'DELETE', path: `/v1/sessions/${segment(id)}` });
      return readRecordReference(read(answer, 'the ended session').object('record'));
    },
    hosts: async () => (await get('/v1/hosts', 'the hosts')).objects('hosts').map(readHost),
    host: async (id) => readHost(await get(`/v1/hosts/${segment(id)}`, 'the host')),
    hostCommands: async (id, only) => {
      const query = queryOf(only === undefined ? {} : { only: only.join(',') });
      const path = `/v1/hosts/${segment(id)}/commands${query}`;
      const answer = await ask({ method: 'GET', path, maxBytes: MAX_RECORDS_BYTES });
      return read(answer, 'the commands of the host').objects('commands').map(readHostCommand);
    },
    registerHost: async (request) =>
      readRegisteredHost(await post('/v1/hosts', request, 'the registered host')),
    changeHost: async (id, change, reason) =>
      readHost((await post(`/v1/hosts/${segment(id)}/${change}`, { reason }, 'the host')).object('host')),
    makeHostToken: async (request) => {
      const made = await post('/v1/host-tokens', request, 'the host token');
      return { id: made.text('id', 26), token: made.text('token', 200), expires: made.time('expires') };
    },
    hostTokens: async () =>
      (await get('/v1/host-tokens', 'the host tokens')).objects('tokens').map((token) => ({
        id: token.text('id', 26),
        hosts: token.text('hosts', 256),
        person: token.name('person', 'person'),
        expires: token.time('expires'),
        usesLeft: token.integer('uses_left', 0),
      })),
    revokeHostToken: async (id) => {
      const answer = await ask({ method: 'DELETE', path: `/v1/host-tokens/${segment(id)}` });
      return readRecordReference(read(answer, 'the host token').object('record'));
    },
    hostReports: async () => (await reports()).objects('hosts').map(readStanding),
    serviceHeads: async () => {
      const answer = await reports();
      return answer.has('services') ? answer.objects('services').map(readServiceHead) : [];
    },
    reportHeads: async (head, hosts) => {
      await post('/v1/heads', { chain: 'broker', head, hosts }, 'the heads');
    },
    changePerson: async (person, change, reason) =>
      readPersonChanged(await post(`/v1/persons/${segment(person)}/${change}`, { reason }, 'the person')),
    disabledPersons: async () =>
      (await get('/v1/persons', 'the persons')).objects('disabled').map((person) => ({
        person: person.name('person', 'person'),
        since: person.time('since'),
        by: person.name('by', 'person'),
        reason: person.text('reason', 1000),
      })),
    requestCertificate: async (body, keyProof) =>
      readIssued(
        read(await ask({ method: 'POST', path: '/v1/certificates', body, keyProof }), 'the certificate'),
      ),
    certificates: async (query) =>
      (await get(`/v1/certificates${queryOf(query)}`, 'the certificates'))
        .objects('certificates')
        .map(readCertificateEntry),
    certificate: async (serial) =>
      readCertificateEntry(await get(`/v1/certificates/${serial}`, 'the certificate')),
    decide: async (request) => readDecision(await post('/v1/decisions', request, 'the decision')),
    githubToken: async (purpose) =>
      (await post('/v1/github-token', purpose, 'the GitHub token')).matching(
        'token',
        /^[\x21-\x7e]{1,4096}$/,
        'a token',
      ),
    revoke: async (request) => readRevocation(await post('/v1/revocations', request, 'the revocation')),
    publishTrustRoot: async (root) =>
      (await post('/v1/trust/root', root, 'the published root')).integer(
        'version',
        1,
        Number.MAX_SAFE_INTEGER,
      ),
    rotation: async () => readRotation(await get('/v1/rotation', 'the rotation')),
    activateKey: async (request) =>
      readRecordReference((await post('/v1/rotation', request, 'the activation')).object('record')),
    records: async (query) => {
      const path = `/v1/records${queryOf(query)}`;
      const page = read(await ask({ method: 'GET', path, maxBytes: MAX_RECORDS_BYTES }), 'the records');
      return { records: page.texts('records'), head: readRecordReference(page.object('head')) };
    },
    authorityKeys: async () => readAuthorityKeys(read(await ofPublic('/v1/ca-keys'), 'the CA keys')),
    checkpoint: async () => read(await ofPublic('/v1/checkpoint'), 'the checkpoint').text('checkpoint'),
    revocationList: async () => (await ofPublic('/v1/krl', MAX_KRL_BYTES)).body,
  };
}

function readRotation(answer: Answer): Rotation {
  return {
    root: answer.integer('root', 1),
    keys: answer.objects('keys').map((key) => ({
      kind: key.text('kind', 4),
      fingerprint: key.text('fingerprint', 50),
      state: key.text('state', 8),
      inUse: key.boolean('in_use'),
      opened: key.boolean('opened'),
      revoked: key.boolean('revoked'),
      since: key.integer('since', 1),
      waiting: key.objects('waiting').map((host) => ({
        id: host.name('id', 'host'),
        root: host.integer('root', 0),
        seen: host.time('seen'),
      })),
      heldUntil: key.has('held_until') ? key.time('held_until') : undefined,
      heldBy: key.texts('held_by', 64),
    })),
    unseen: answer.texts('unseen', 64),
  };
}

function readStanding(host: Answer): HostStanding {
  const certificate = host.has('certificate') ? host.object('certificate') : undefined;
  return {
    id: host.name('id', 'host'),
    state: host.text('state', 8) === 'enabled' ? 'enabled' : 'disabled',
    report: host.has('report') ? readHostReport(host.object('report')) : undefined,
    certificate:
      certificate === undefined
        ? undefined
        : {
            serial: certificate.serial('serial'),
            authority: certificate.text('authority', 50),
            validBefore: certificate.time('valid_before'),
          },
    warnings: host.texts('warnings', 64),
  };
}

function readServiceHead(entry: Answer): ServiceHead {
  return {
    service: entry.name('service', 'service'),
    seen: entry.time('seen'),
    head: readRecordReference(entry.object('head')),
    headRefused: entry.has('head_refused') ? entry.time('head_refused') : undefined,
  };
}

function readHostReport(report: Answer): HostReport {
  const [versions, trust, head] = [report.object('versions'), report.object('trust'), report.object('head')];
  return {
    seen: report.time('seen'),
    clockOffSeconds: report.integer('clock_off_seconds', Number.MIN_SAFE_INTEGER),
    versions: { beacon: versions.text('beacon', 100), sshd: versions.text('sshd', 100) },
    trust: { root: trust.integer('root', 0), status: trust.integer('status', 0) },
    contract: report.has('contract') ? report.text('contract', 64) : undefined,
    head: { seq: head.integer('seq', 0), hash: head.matching('hash', /^[0-9a-f]{64}$/, 'a hash') },
    headRefused: report.has('head_refused') ? report.time('head_refused') : undefined,
  };
}
