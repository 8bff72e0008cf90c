/**
 * A grant's one exact text (DESIGN.md section 4, extension `grant@beacon`): what the CA allowed, carried by the
 * certificate and later by other doors. `until` is the certificate's valid-before and stands nowhere else.
 */

import { decode32 } from './arguments-digest.ts';
import { ProtocolError } from './error.ts';
import { isId } from './id.ts';
import { isName } from './name.ts';
import { type Json, parseStrictJson } from './strict-json.ts';

/** The longest text of a grant: sshd was seen to carry 60 KB, and a list of commands that needs more is no list. */
export const GRANT_MAX_BYTES = 8192;

export interface GrantedCommand {
  readonly command: string;
  /** The arguments digest, base64url without padding. */
  readonly digest: string;
  readonly undo?: { readonly command: string; readonly digest: string };
}

export interface Grant {
  readonly grant: string;
  /** SHA-256 of the session id, base64url without padding. */
  readonly session: string;
  readonly person: string;
  readonly service: string;
  readonly host: string;
  readonly login: string;
  readonly commands: readonly GrantedCommand[];
}

/** The grant's text, keys in their one order. Throws ProtocolError `grant-malformed` or `grant-too-long`. */
export function formatGrant(grant: Grant): string {
  const text = JSON.stringify({
    v: 1,
    grant: grant.grant,
    session: grant.session,
    person: grant.person,
    service: grant.service,
    host: grant.host,
    login: grant.login,
    commands: grant.commands.map(({ command, digest, undo }) =>
      undo === undefined
        ? { command, digest }
        : { command, digest, undo: { command: undo.command, digest: undo.digest } },
    ),
  });
  check(grant);
  if (Buffer.byteLength(text) > GRANT_MAX_BYTES) {
    throw new ProtocolError(
      'grant-too-long',
      `the grant is longer than ${GRANT_MAX_BYTES} bytes: ask for fewer commands`,
    );
  }
  return text;
}

/** Reads a grant's text; any other spelling of the same grant is refused. Throws ProtocolError. */
export function parseGrant(text: string): Grant {
  if (Buffer.byteLength(text) > GRANT_MAX_BYTES) {
    throw new ProtocolError('grant-too-long', `the grant is longer than ${GRANT_MAX_BYTES} bytes`);
  }
  const value = object(parseStrictJson(text));
  if (value['v'] !== 1) throw new ProtocolError('grant-malformed', 'the grant is of an unknown version');
  const commands = value['commands'];
  if (!Array.isArray(commands))
    throw new ProtocolError('grant-malformed', 'the grant has no list of commands');
  const grant: Grant = {
    grant: string(value['grant']),
    session: string(value['session']),
    person: string(value['person']),
    service: string(value['service']),
    host: string(value['host']),
    login: string(value['login']),
    commands: commands.map((entry) => {
      const command = object(entry);
      const named = { command: string(command['command']), digest: string(command['digest']) };
      if (command['undo'] === undefined) return named;
      const undo = object(command['undo']);
      return { ...named, undo: { command: string(undo['command']), digest: string(undo['digest']) } };
    }),
  };
  if (formatGrant(grant) !== text) {
    throw new ProtocolError(
      'grant-malformed',
      'the grant is not in its one spelling: an unknown key, another order or white space',
    );
  }
  return grant;
}

function check(grant: Grant): void {
  const named =
    isId(grant.grant) &&
    decode32(grant.session) !== undefined &&
    isName('person', grant.person) &&
    isName('service', grant.service) &&
    isName('host', grant.host) &&
    isName('login', grant.login);
  const listed = grant.commands.every((entry) =>
    [entry, ...(entry.undo ? [entry.undo] : [])].every(
      (c) => isName('command', c.command) && decode32(c.digest),
    ),
  );
  if (!named || !listed)
    throw new ProtocolError('grant-malformed', 'the grant holds a value that is not of its form');
}

function object(value: Json | undefined): { [key: string]: Json } {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw new ProtocolError('grant-malformed', 'the grant is not made of objects where it must be');
  }
  return value;
}

function string(value: Json | undefined): string {
  if (typeof value !== 'string') throw new ProtocolError('grant-malformed', 'the grant lacks a text');
  return value;
}
