/**
 * What a grant says about a command's arguments (DESIGN.md section 3.3): a digest over the command, a salt, the exact
 * text of its non-secret parameters and a commitment to each secret one. The CA computes it from the request, the gate
 * from the bytes that it read; a digest from a caller is never accepted. Parts are length-prefixed (RFC 4251 section 5,
 * `string`) and tagged, so no two inputs share an encoding.
 */
import { createHash } from 'node:crypto';
import { ProtocolError } from './error.ts';
import { isName, nameForms } from './name.ts';
import { parseStrictJson } from './strict-json.ts';

const ARGUMENTS_TAG = Buffer.from('beacon-arguments-1\0');
const SECRET_TAG = Buffer.from('beacon-secret-1\0');
const SALT_BYTES = 32;
const PARAMS_MAX_BYTES = 8192;
const BASE64URL_32 = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

export interface CommandArguments {
  readonly command: string;
  /** 32 random bytes of this command alone. */
  readonly salt: Uint8Array;
  /** The exact text of one JSON object, values strings only. */
  readonly params: string;
  /** One commitment of 32 bytes for each secret parameter, by its name. */
  readonly commitments: Readonly<Record<string, Uint8Array>>;
}

/** The digest as base64url without padding. Throws ProtocolError `digest-input`, `params-malformed` or `json-…`. */
export function argumentsDigest(input: CommandArguments): string {
  if (!isName('command', input.command)) throw new ProtocolError('digest-input', `not ${nameForms.command}`);
  if (input.salt.length !== SALT_BYTES)
    throw new ProtocolError('digest-input', `a salt has ${SALT_BYTES} bytes`);
  const params = parseParams(input.params);
  const hash = createHash('sha256').update(ARGUMENTS_TAG);
  const part = (bytes: Uint8Array) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    hash.update(length).update(bytes);
  };
  part(Buffer.from(input.command));
  part(input.salt);
  part(Buffer.from(input.params));
  // Parameter names are ASCII, so the default order of strings is the order of their bytes.
  for (const name of Object.keys(input.commitments).sort()) {
    const commitment = input.commitments[name];
    if (!isName('parameter', name) || commitment?.length !== 32 || Object.hasOwn(params, name)) {
      throw new ProtocolError(
        'digest-input',
        `the commitment ${JSON.stringify(name.slice(0, 40))} is not of 32 bytes under a name of its own`,
      );
    }
    part(Buffer.from(name));
    part(commitment);
  }
  return hash.digest('base64url');
}

/** The commitment to a secret parameter's value under its own salt of 32 random bytes. */
export function secretCommitment(salt: Uint8Array, value: Uint8Array): Buffer {
  if (salt.length !== SALT_BYTES) throw new ProtocolError('digest-input', `a salt has ${SALT_BYTES} bytes`);
  return createHash('sha256').update(SECRET_TAG).update(salt).update(value).digest();
}

/** The non-secret parameters in their text. Throws ProtocolError `params-malformed`, or `json-…` from the reader. */
export function parseParams(text: string): Record<string, string> {
  if (Buffer.byteLength(text) > PARAMS_MAX_BYTES) {
    throw new ProtocolError('params-malformed', `params are longer than ${PARAMS_MAX_BYTES} bytes`);
  }
  const value = parseStrictJson(text);
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw new ProtocolError('params-malformed', 'params are the text of one JSON object');
  }
  const params: Record<string, string> = {};
  for (const [name, parameter] of Object.entries(value)) {
    if (!isName('parameter', name))
      throw new ProtocolError(
        'params-malformed',
        `${JSON.stringify(name.slice(0, 40))} is not ${nameForms.parameter}`,
      );
    if (typeof parameter !== 'string')
      throw new ProtocolError('params-malformed', `the parameter ${name} is not a string`);
    params[name] = parameter;
  }
  return params;
}

/** Reads 32 bytes from base64url without padding, in the one spelling that encoding them gives; undefined otherwise. */
export function decode32(text: string): Buffer | undefined {
  return BASE64URL_32.test(text) ? Buffer.from(text, 'base64url') : undefined;
}
