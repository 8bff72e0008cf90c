/**
 * What must never stand in a log, whatever field it comes in (ATTACKS L7): values under keys that name a secret, bytes
 * of any kind, and texts that look like a token or a private key. A net below the rule that secrets are not logged, not
 * a reason to log more.
 */

const SECRET_KEY =
  /^(authorization|proxy-authorization|dpop|cookie|set-cookie|body|rawbody|params|salt|state|code_verifier|user_code|device_code)$|secret|password|passphrase|token|assertion|private_?key|credential|session_?id|key_proof/i;

const SECRET_TEXT =
  /-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^"\\]|\\+[nr])*|\b(?:gh[opsur]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,})|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}[.][A-Za-z0-9_-]+(?:[.][A-Za-z0-9_-]*)?|\b(?:Bearer|DPoP|Basic) +[A-Za-z0-9._~+/=-]{8,}/gi;

/** A query or fragment behind a path or an address: it may hold an OAuth `code` or `state`. Ends before JSON's own marks. */
const QUERY = /(?<=[\w/~%-])[?#][^\s"'\\]*/g;

const REDACTED = '[redacted]';
const MAX_DEPTH = 6;
const MAX_MEMBERS = 100;
const MAX_TEXT = 8_192;

/** Keys are few and come again with every line. */
const KEYS_KEPT = 500;
const judgedKeys = new Map<string, boolean>();

function namesSecret(key: string): boolean {
  const known = judgedKeys.get(key);
  if (known !== undefined) return known;
  const judged = SECRET_KEY.test(key);
  if (judgedKeys.size >= KEYS_KEPT) judgedKeys.clear();
  judgedKeys.set(key, judged);
  return judged;
}

/** What JSON writes otherwise than it reads, so that a secret behind it would look like another word. */
const ESCAPED = /[\u0000-\u001f"\\\u007f-\uffff]/;

/**
 * A copy of `value` for a line of JSON that {@link redactText} is still to go over. It never throws: a line of the log
 * is written where something has failed already, and what cannot be read there is said to be so.
 */
export function redact(value: unknown, depth = 0): unknown {
  try {
    return redactReadable(value, depth);
  } catch {
    return '[unreadable]';
  }
}

function redactReadable(value: unknown, depth: number): unknown {
  if (typeof value === 'string') {
    const text = value.slice(0, MAX_TEXT);
    return ESCAPED.test(text) ? redactText(text) : text;
  }
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'function' || typeof value === 'symbol') return undefined;
  if (value === null || typeof value !== 'object') return value;
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? '[no time]' : value.toISOString();
  if (depth >= MAX_DEPTH) return '[deeper]';
  if (value instanceof Error) return redactError(value, depth);
  if (value instanceof Map) return redact(Object.fromEntries([...value].map(nameKey)), depth);
  if (value instanceof Set) return redact([...value], depth);
  if (Array.isArray(value)) return value.slice(0, MAX_MEMBERS).map((member) => redact(member, depth + 1));
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, MAX_MEMBERS)
      .map(([key, member]) => [key, namesSecret(key) ? REDACTED : redact(member, depth + 1)]),
  );
}

/** A map's key may be anything, also an object that cannot be made a text. */
function nameKey([key, member]: [unknown, unknown]): [string, unknown] {
  return [typeof key === 'object' || typeof key === 'function' ? `[${typeof key}]` : String(key), member];
}

/** A text without what looks like a token, a private key, or a query. */
export function redactText(text: string): string {
  return text.replace(SECRET_TEXT, REDACTED).replace(QUERY, '');
}

/** What our paths are made of: words, numbers, names and ids. Tokens and codes have capitals, or run longer. */
const PATH_SEGMENT = /^(?:[a-z0-9]{1,26}(?:[._:-][a-z0-9]{1,26}){0,8})?$/;
const MAX_SEGMENTS = 8;

/** A path that may be logged: a segment that could be a secret, and what comes after the eighth, is a star. */
export function redactPath(path: string): string {
  const [first = '', ...segments] = path.split('/', MAX_SEGMENTS + 2);
  const shown = segments.map((segment, at) =>
    at < MAX_SEGMENTS && PATH_SEGMENT.test(segment) ? segment : '*',
  );
  return [first === '' ? '' : '*', ...shown].join('/');
}

function redactError(error: Error, depth: number): unknown {
  const code = 'code' in error ? error.code : undefined;
  return {
    type: error.name,
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    message: redactText(error.message),
    ...(error.stack === undefined ? {} : { stack: redactText(error.stack) }),
    ...(error.cause === undefined ? {} : { cause: redact(error.cause, depth + 1) }),
  };
}
