/**
 * Lines of a known_hosts file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"), in the one form that Beacon writes: a single name, its port when
 * it is not 22, one key, and the marker for a CA. Patterns, lists, negation, hashed names, comments and revoked keys are not read: who
 * needs a person's whole file asks ssh itself.
 */
import { SshError } from './error.ts';
import { formatPublicKeyLine, type PublicKey, parsePublicKeyLine } from './public-key.ts';

/** Whom to believe about one host: its own key, or the CA whose certificates name it. */
export interface KnownHost {
  /** A host id, name or address, lower-case as ssh looks it up. */
  readonly host: string;
  /** 22 stands nowhere in the line. With `HostKeyAlias` ssh looks for the alias without a port. */
  readonly port: number;
  readonly key: PublicKey;
  readonly isAuthority: boolean;
}

const MARKER = '@cert-authority ';
/** No pattern can be made of these, no marker, comment, list or hashed name, and they begin no option. */
const HOST = /^(?=[a-z0-9:])[a-z0-9.:_-]{1,253}$/;
const LINE = /^([^ [\]]+|\[([^ [\]]+)\]:([1-9][0-9]{0,4})) (.+)$/;

/** The line, without a newline. @throws SshError `known-hosts-malformed` for a name or port that is none. */
export function formatKnownHost({ host, port, key, isAuthority }: KnownHost): string {
  checkPlace(host, port);
  return `${isAuthority ? MARKER : ''}${port === 22 ? host : `[${host}]:${port}`} ${formatPublicKeyLine(key)}`;
}

/** Reads a line of exactly the form that `formatKnownHost` writes; one newline may end it. Throws `known-hosts-malformed`, `key-…`. */
export function parseKnownHost(line: string): KnownHost {
  const isAuthority = line.startsWith(MARKER);
  const [, plain, bracketed, digits, rest] =
    LINE.exec((isAuthority ? line.slice(MARKER.length) : line).replace(/\n$/, '')) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || rest === undefined || digits === '22') {
    throw malformed('this is no line of the form "host type base64"');
  }
  const port = digits === undefined ? 22 : Number(digits);
  checkPlace(host, port);
  const { key, comment } = parsePublicKeyLine(rest);
  if (comment !== '') {
    throw malformed('something follows the key');
  }
  return { host, port, key, isAuthority };
}

function checkPlace(host: string, port: number): void {
  if (!HOST.test(host)) {
    throw malformed(`${JSON.stringify(host.slice(0, 80))} is no host id, name or address in lower case`);
  }
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw malformed('a port lies between 1 and 65535');
  }
}

function malformed(fault: string): SshError {
  return new SshError('known-hosts-malformed', `known_hosts: ${fault}`);
}
