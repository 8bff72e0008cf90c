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

export interface FetchedTrust {
  readonly files: TrustFiles;
  readonly tags: TrustTags;
}

/** A document and its signature, escaped as JSON in the worst way. */
const MOST_BYTES = 6 * (TRUST_FILES['root.json'] + 2 * TRUST_FILES['root.json.sig']) + 1_024;
const NOT_MODIFIED = 304;

/**
 * The CA's documents; those that it calls unchanged are `present`'s. Undefined where nothing has changed. Throws
 * ClientError `unreachable`, `timed-out`, `answer-too-long`, HostError `answer-malformed`.
 */
export async function fetchTrust(
  outside: Outside,
  ca: string,
  present: FetchedTrust | undefined,
): Promise<FetchedTrust | undefined> {
  const ask = (path: string, tag: string | undefined, maxBytes: number) =>
    get(outside, new URL(path, ca).href, present === undefined ? undefined : tag, maxBytes);
  const status = await ask('/v1/trust/status', present?.tags.status, MOST_BYTES);
  const root = await ask('/v1/trust/root', present?.tags.root, MOST_BYTES);
  const krl = await ask('/v1/krl', present?.tags.krl, TRUST_FILES.krl);
  if (status === undefined && root === undefined && krl === undefined) return undefined;
  const files = {
    ...present?.files,
    ...(root === undefined ? {} : readSigned('root', root.body)),
    ...(status === undefined ? {} : readSigned('status', status.body)),
    ...(krl === undefined ? {} : { krl: krl.body }),
  };
  const tags = {
    ...present?.tags,
    ...tagOf('root', root),
    ...tagOf('status', status),
    ...tagOf('krl', krl),
  };
  return { files: requireAll(files), tags };
}

interface Answer {
  readonly body: Buffer;
  readonly tag: string | undefined;
}

async function get(
  outside: Outside,
  url: string,
  tag: string | undefined,
  maxBytes: number,
): Promise<Answer | undefined> {
  const headers = tag === undefined ? {} : { 'if-none-match': tag };
  const { status, headers: said, body } = await exchange(outside, { method: 'GET', url, headers, maxBytes });
  if (status === NOT_MODIFIED && tag !== undefined) return undefined;
  if (status !== 200) throw malformed(`it answered ${status}`);
  const given = said.get('etag') ?? undefined;
  return { body, tag: given !== undefined && /^"[\x21\x23-\x7e]{1,100}"$/.test(given) ? given : undefined };
}

function tagOf(name: keyof TrustTags, answer: Answer | undefined): TrustTags {
  return answer?.tag === undefined ? {} : { [name]: answer.tag };
}

function readSigned(name: 'root' | 'status', body: Buffer): Partial<Record<keyof TrustFiles, Buffer>> {
  try {
    const top = new ValueReader(`trust-${name}-malformed`, `trust ${name}`, parseStrictJsonBytes(body));
    const { document, signature } = top.members(
      ['document', 'signature'],
      name === 'root' ? ['handover'] : [],
    );
    return { [`${name}.json`]: textOf(document), [`${name}.json.sig`]: textOf(signature) };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw malformed(error.message, { cause: error });
  }
}

function textOf(reader: ValueReader): Buffer {
  if (typeof reader.value !== 'string') throw reader.refusal('it must be a text');
  return Buffer.from(reader.value);
}

function requireAll(files: Partial<TrustFiles>): TrustFiles {
  const {
    krl,
    'root.json': root,
    'root.json.sig': rootSig,
    'status.json': status,
    'status.json.sig': statusSig,
  } = files;
  if (!krl || !root || !rootSig || !status || !statusSig) throw malformed('a document is missing');
  return {
    krl,
    'root.json': root,
    'root.json.sig': rootSig,
    'status.json': status,
    'status.json.sig': statusSig,
  };
}

function malformed(what: string, options?: ErrorOptions): HostError {
  return new HostError(
    'answer-malformed',
    `the CA's answer is refused: ${what}: nothing was changed`,
    options,
  );
}
