/**
 * Asking the CA for trust root, trust status and revocation list: each by a conditional GET (RFC 9110 section 13.1.2) that
 * is bounded in time and length. What comes is bytes that nobody has verified yet.
 */
import { exchange, type Outside } from '@beacon/client';
import { ProtocolError } from '@beacon/protocol/error';
import { parseStrictJsonBytes } from '@beacon/protocol/strict-json';
import { ValueReader } from '@beacon/protocol/value-reader';
import { HostError } from './error.ts';
import { TRUST_FILES, type TrustFiles } from './trust-documents.ts';

/** The tags of what was fetched last, to ask by. */
export interface TrustTags {
  readonly root?: string;
  readonly status?: string;
  readonly krl?: string;
}

/** A root as the CA answers it. */
export interface SignedRoot {
  readonly document: string;
  readonly signature: string;
  /** By the key before, where the root key changed with this root. */
  readonly handover?: string;
}

export interface FetchedTrust {
  readonly files: TrustFiles;
  readonly tags: TrustTags;
  /** The newest root, where it is another than the present one. */
  readonly newest?: SignedRoot;
}

/** A document and its signatures, escaped as JSON in the worst way. */
const MOST_BYTES = 6 * (TRUST_FILES['root.json'] + 2 * TRUST_FILES['root.json.sig']) + 1_024;
const NOT_MODIFIED = 304;
const TAG = /^"[\x21\x23-\x7e]{1,100}"$/;

/**
 * The CA's documents; those that it calls unchanged are `present`'s. Undefined where nothing has changed. Throws
 * ClientError `unreachable`, `timed-out`, `answer-too-long`, HostError `answer-malformed`.
 */
export async function fetchTrust(
  outside: Outside,
  ca: string,
  present: Pick<FetchedTrust, 'files' | 'tags'> | undefined,
): Promise<FetchedTrust | undefined> {
  const at = (path: string): string => new URL(path, ca).href;
  const known = present?.tags ?? {};
  const status = await getSigned(outside, at('/v1/trust/status'), 'status', known.status);
  const root = await getSigned(outside, at('/v1/trust/root'), 'root', known.root);
  const krl = await get(outside, at('/v1/krl'), known.krl, TRUST_FILES.krl);
  if (status === undefined && root === undefined && krl === undefined) return undefined;
  const files = {
    ...present?.files,
    ...(root === undefined ? {} : filesOf('root', root.signed)),
    ...(status === undefined ? {} : filesOf('status', status.signed)),
    ...(krl === undefined ? {} : { krl: krl.body }),
  };
  const tags = tagsOf(known, { root, status, krl });
  return { files: requireAll(files), tags, ...(root === undefined ? {} : { newest: root.signed }) };
}

interface Tagged {
  readonly tag: string | undefined;
}

/** A signed document; undefined where the CA says that it is the one of `tag`. */
export async function getSigned(
  outside: Outside,
  url: string,
  name: 'root' | 'status',
  tag?: string,
): Promise<(Tagged & { readonly signed: SignedRoot }) | undefined> {
  const answer = await get(outside, url, tag, MOST_BYTES);
  return answer === undefined ? undefined : { tag: answer.tag, signed: readSigned(name, answer.body) };
}

async function get(
  outside: Outside,
  url: string,
  tag: string | undefined,
  maxBytes: number,
): Promise<(Tagged & { readonly body: Buffer }) | undefined> {
  const headers = tag === undefined ? {} : { 'if-none-match': tag };
  const { status, headers: said, body } = await exchange(outside, { method: 'GET', url, headers, maxBytes });
  if (status === NOT_MODIFIED && tag !== undefined) return undefined;
  if (status !== 200) throw malformed(`it answered ${status} for ${new URL(url).pathname}`);
  const given = said.get('etag') ?? undefined;
  return { body, tag: given !== undefined && TAG.test(given) ? given : undefined };
}

/** Those of what is there now: a document that came without a tag has none, and not that of the one before. */
function tagsOf(known: TrustTags, answers: Readonly<Record<keyof TrustTags, Tagged | undefined>>): TrustTags {
  const names = ['root', 'status', 'krl'] as const;
  return Object.fromEntries(
    names.flatMap((name) => {
      const answer = answers[name];
      const tag = answer === undefined ? known[name] : answer.tag;
      return tag === undefined ? [] : [[name, tag]];
    }),
  );
}

function readSigned(name: 'root' | 'status', body: Buffer): SignedRoot {
  try {
    const top = new ValueReader(`trust-${name}-malformed`, `trust ${name}`, parseStrictJsonBytes(body));
    const read = top.members(['document', 'signature'], name === 'root' ? ['handover'] : []);
    const { handover } = read;
    return {
      document: textOf(read.document),
      signature: textOf(read.signature),
      ...(handover === undefined ? {} : { handover: textOf(handover) }),
    };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw malformed(error.message, { cause: error });
  }
}

function filesOf(name: 'root' | 'status', signed: SignedRoot): Partial<TrustFiles> {
  const { document, signature } = signed;
  return { [`${name}.json`]: Buffer.from(document), [`${name}.json.sig`]: Buffer.from(signature) };
}

function textOf(reader: ValueReader): string {
  if (typeof reader.value !== 'string') throw reader.refusal('it must be a text');
  return reader.value;
}

function requireAll(files: Partial<TrustFiles>): TrustFiles {
  const missing = Object.keys(TRUST_FILES).find((name) => files[name as keyof TrustFiles] === undefined);
  if (missing !== undefined) throw malformed('a document is missing');
  return files as TrustFiles;
}

function malformed(what: string, options?: ErrorOptions): HostError {
  return new HostError(
    'answer-malformed',
    `the CA's answer is refused: ${what}: nothing was changed`,
    options,
  );
}
