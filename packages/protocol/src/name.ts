/**
 * The names that Beacon's programs say to each other (DESIGN.md section 8). Names are compared exactly and are never
 * trimmed, folded or completed; what does not match its form is refused.
 */
import { ProtocolError } from './error.ts';

const HOST_ID = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;
const LOGIN = /^[a-z_][a-z0-9_-]{0,31}$/;
const COMMAND = /^[a-z][a-z0-9_-]*([.][a-z0-9_-]+)*$/;
const COMMAND_MAX_CHARACTERS = 64;
const PARAMETER = /^[a-z][a-z0-9_]{0,31}$/;
const PERSON = /^[a-z][a-z0-9-]{0,31}:[1-9][0-9]{0,18}$/;
const SERVICE = /^[a-z][a-z0-9-]{0,62}$/;

/** The forms in words, for error messages and for documents. */
export const nameForms = {
  host: 'a host id: lower-case letters, digits, dots and dashes, 1 to 63 characters, a letter or digit at both ends',
  login:
    'a login: a lower-case letter or underscore, then lower-case letters, digits, underscores and dashes, at most 32 characters',
  command: 'a command name: lower-case words joined by dots, such as runner.install, at most 64 characters',
  parameter:
    'a parameter name: a lower-case letter, then lower-case letters, digits and underscores, at most 32 characters',
  person: 'a person: <provider>:<numeric id>, such as github:583231',
  service:
    'a service id: a lower-case letter, then lower-case letters, digits and dashes, at most 63 characters',
} as const;

export type NameKind = keyof typeof nameForms;

/** Whether `text` is a name of that kind, exactly as it stands. */
export function isName(kind: NameKind, text: string): boolean {
  switch (kind) {
    case 'host':
      return HOST_ID.test(text);
    case 'login':
      return LOGIN.test(text);
    case 'command':
      return text.length <= COMMAND_MAX_CHARACTERS && COMMAND.test(text);
    case 'parameter':
      return PARAMETER.test(text);
    case 'person':
      return PERSON.test(text);
    case 'service':
      return SERVICE.test(text);
  }
}

/** Returns `text` itself, or throws ProtocolError `name-malformed` saying what the form is. */
export function parseName(kind: NameKind, text: string): string {
  if (!isName(kind, text)) {
    throw new ProtocolError(
      'name-malformed',
      `${JSON.stringify(text.slice(0, 80))} is not ${nameForms[kind]}`,
    );
  }
  return text;
}

/** The one principal of a user certificate: it opens this login on this host and nothing else. */
export function formatPrincipal(login: string, host: string): string {
  return `${parseName('login', login)}@${parseName('host', host)}`;
}

/** The inverse of {@link formatPrincipal}; throws ProtocolError `name-malformed`. */
export function parsePrincipal(text: string): { login: string; host: string } {
  const at = text.indexOf('@');
  if (at < 0) {
    throw new ProtocolError(
      'name-malformed',
      `${JSON.stringify(text.slice(0, 100))} is not <login>@<host id>`,
    );
  }
  return { login: parseName('login', text.slice(0, at)), host: parseName('host', text.slice(at + 1)) };
}

/** The audience (RFC 8707) of tokens for the CA's own API. */
export const CA_AUDIENCE = 'urn:beacon:ca';

/** The audience of tokens that a person hands to a broker or to another backend, good only for an exchange at the CA. */
export function brokerAudience(service: string): string {
  return `urn:beacon:broker:${parseName('service', service)}`;
}
