/**
 * The two documents that tell a host what it trusts (DESIGN.md section 6), and the note that says which host it is.
 * `root` is signed by the offline key that the host pinned, `status` by the key that the root names; both signatures are
 * SSHSIG over the file's exact bytes, detached, in namespaces of their own, so that `ssh-keygen -Y` can check them too.
 * Each document has one spelling: a small shell script may look for a value in it. Verifying and time are not done here.
 */
import { ProtocolError, type ProtocolErrorCode } from './error.ts';
import { isId } from './id.ts';
import { compilePattern, type Pattern } from './pattern.ts';
import { isTime } from './record.ts';
import { parseStrictJsonBytes } from './strict-json.ts';
import { ValueReader } from './value-reader.ts';

export const TRUST_ROOT_NAMESPACE = 'trust-root@beacon';
export const TRUST_STATUS_NAMESPACE = 'trust-status@beacon';
export const TRUST_DOCUMENT_MAX_BYTES = 65_536;

/** What a host trusts. Keys are lines as in a `.pub` file, without comment; reading them is for who uses them. */
export interface TrustRoot {
  /** Strictly increasing from 1. */
  readonly version: number;
  readonly issued: Date;
  readonly expires: Date;
  /** The pattern of the host ids for which this root was made. */
  readonly hosts: string;
  /** The accounts whose logins lead to a gate. */
  readonly logins: readonly string[];
  readonly userCa: readonly string[];
  readonly hostCa: readonly string[];
  /** Who signs the status. */
  readonly statusKey: string;
}

/** What was taken away: it can only take away. */
export interface TrustStatus {
  /** Strictly increasing from 1 under one root. */
  readonly version: number;
  readonly rootVersion: number;
  readonly issued: Date;
  readonly expires: Date;
  /** The revocation list that belongs to it. */
  readonly krl: { readonly sha256: string; readonly bytes: number };
  /** Grants whose undo must not run either. */
  readonly halt: readonly string[];
}

/** Which host this is, and the key that it pinned when it was enrolled. */
export interface HostIdentity {
  readonly host: string;
  readonly login: string;
  readonly rootKey: string;
}

const KEY_LINE = /^[a-z0-9@.-]{1,64} [A-Za-z0-9+/]{16,}={0,2}$/;
const SHA256 = /^[0-9a-f]{64}$/;
const MOST_KEYS = 16;
const MOST_HALTED = 1_024;
const MOST_KRL_BYTES = 32 * 1024 * 1024;

/** The document's exact text, with a newline at its end. Throws ProtocolError `trust-root-malformed`. */
export function formatTrustRoot(root: TrustRoot): string {
  const text = spell({
    v: 1,
    kind: 'trust-root',
    version: root.version,
    issued: root.issued.toISOString(),
    expires: root.expires.toISOString(),
    hosts: root.hosts,
    logins: root.logins,
    user_ca: root.userCa,
    host_ca: root.hostCa,
    status_key: root.statusKey,
  });
  readTrustRoot(Buffer.from(text));
  return text;
}

/** Throws ProtocolError `trust-root-malformed` or `json-…`. The signature is to be verified before. */
export function parseTrustRoot(bytes: Uint8Array): TrustRoot {
  const root = readTrustRoot(bytes);
  requireSpelling('trust-root-malformed', bytes, formatTrustRoot(root));
  return root;
}

function readTrustRoot(bytes: Uint8Array): TrustRoot {
  const reader = open('trust-root-malformed', 'trust root', bytes);
  const read = reader.members([
    'v',
    'kind',
    'version',
    'issued',
    'expires',
    'hosts',
    'logins',
    'user_ca',
    'host_ca',
    'status_key',
  ]);
  requireKind(read.v, read.kind, 'trust-root');
  return {
    version: read.version.integer(1, Number.MAX_SAFE_INTEGER),
    ...readTimes(read.issued, read.expires),
    hosts: readHosts(read.hosts).source,
    logins: read.logins.list(MOST_KEYS).map((login) => login.name('login')),
    userCa: readKeys(read.user_ca),
    hostCa: readKeys(read.host_ca),
    statusKey: readKey(read.status_key),
  };
}

/** The document's exact text, with a newline at its end. Throws ProtocolError `trust-status-malformed`. */
export function formatTrustStatus(status: TrustStatus): string {
  const text = spell({
    v: 1,
    kind: 'trust-status',
    version: status.version,
    root_version: status.rootVersion,
    issued: status.issued.toISOString(),
    expires: status.expires.toISOString(),
    krl: { sha256: status.krl.sha256, bytes: status.krl.bytes },
    halt: status.halt,
  });
  readTrustStatus(Buffer.from(text));
  return text;
}

/** Throws ProtocolError `trust-status-malformed` or `json-…`. The signature is to be verified before. */
export function parseTrustStatus(bytes: Uint8Array): TrustStatus {
  const status = readTrustStatus(bytes);
  requireSpelling('trust-status-malformed', bytes, formatTrustStatus(status));
  return status;
}

function readTrustStatus(bytes: Uint8Array): TrustStatus {
  const reader = open('trust-status-malformed', 'trust status', bytes);
  const read = reader.members(['v', 'kind', 'version', 'root_version', 'issued', 'expires', 'krl', 'halt']);
  requireKind(read.v, read.kind, 'trust-status');
  const krl = read.krl.members(['sha256', 'bytes']);
  return {
    version: read.version.integer(1, Number.MAX_SAFE_INTEGER),
    rootVersion: read.root_version.integer(1, Number.MAX_SAFE_INTEGER),
    ...readTimes(read.issued, read.expires),
    krl: { sha256: readSha256(krl.sha256), bytes: krl.bytes.integer(1, MOST_KRL_BYTES) },
    halt: read.halt.list(MOST_HALTED).map(readGrantId),
  };
}

/** The note's exact text, with a newline at its end. Throws ProtocolError `host-identity-malformed`. */
export function formatHostIdentity(identity: HostIdentity): string {
  const text = spell({ v: 1, host: identity.host, login: identity.login, root_key: identity.rootKey });
  parseHostIdentity(Buffer.from(text));
  return text;
}

/** Throws ProtocolError `host-identity-malformed` or `json-…`. */
export function parseHostIdentity(bytes: Uint8Array): HostIdentity {
  const read = open('host-identity-malformed', 'host identity', bytes).members([
    'v',
    'host',
    'login',
    'root_key',
  ]);
  if (read.v.value !== 1) throw read.v.refusal('it must be 1');
  return { host: read.host.name('host'), login: read.login.name('login'), rootKey: readKey(read.root_key) };
}

function open(code: ProtocolErrorCode, place: string, bytes: Uint8Array): ValueReader {
  if (bytes.length > TRUST_DOCUMENT_MAX_BYTES) {
    throw new ProtocolError(code, `${place}: it is longer than ${TRUST_DOCUMENT_MAX_BYTES} bytes`);
  }
  return new ValueReader(code, place, parseStrictJsonBytes(bytes));
}

function spell(document: object): string {
  return `${JSON.stringify(document)}\n`;
}

function requireSpelling(code: ProtocolErrorCode, bytes: Uint8Array, text: string): void {
  if (!Buffer.from(text).equals(bytes)) {
    throw new ProtocolError(code, 'the document is not in its one spelling: another order or white space');
  }
}

function requireKind(v: ValueReader, kind: ValueReader, expected: string): void {
  if (v.value !== 1) throw v.refusal('it must be 1');
  if (kind.value !== expected) throw kind.refusal(`it must be "${expected}"`);
}

function readTimes(issued: ValueReader, expires: ValueReader): { issued: Date; expires: Date } {
  const [from, until] = [issued, expires].map((reader) => {
    const text = reader.text(24);
    if (!isTime(text)) throw reader.refusal('it must be UTC with milliseconds');
    return new Date(text);
  }) as [Date, Date];
  if (until <= from) throw expires.refusal('it must lie after the time of issue');
  return { issued: from, expires: until };
}

function readHosts(reader: ValueReader): Pattern {
  try {
    return compilePattern(reader.text());
  } catch (error) {
    if (error instanceof ProtocolError && error.code === 'pattern-malformed')
      throw reader.refusal(error.message);
    throw error;
  }
}

function readKeys(reader: ValueReader): string[] {
  const keys = reader.list(MOST_KEYS).map(readKey);
  if (new Set(keys).size !== keys.length) throw reader.refusal('a key stands there twice');
  return keys;
}

function readKey(reader: ValueReader): string {
  const line = reader.text(8_192);
  if (!KEY_LINE.test(line)) throw reader.refusal('it must be a public key line without a comment');
  return line;
}

function readSha256(reader: ValueReader): string {
  const text = reader.text(64);
  if (!SHA256.test(text)) throw reader.refusal('it must be a SHA-256 in lower-case hex');
  return text;
}

function readGrantId(reader: ValueReader): string {
  const text = reader.text(26);
  if (!isId(text)) throw reader.refusal('it must be the id of a grant');
  return text;
}
