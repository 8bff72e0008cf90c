/**
 * The lines that a client writes to a gate (DESIGN.md section 5, "Session"), one JSON object each, at most 64 KiB. The
 * next line is read when the one before has ended; only `cancel` is looked for while a command runs.
 *
 * | line | what it asks |
 * |---|---|
 * | `{"v":1,"id":1,"command":…,"params":"<exact text>","salt":…,"secrets":{name:{"salt":…,"value":…}},"undo":{…}}` | run this; `secrets` and `undo` may be left out |
 * | `{"v":1,"id":2,"certificate":"<base64>"}` | replace the grant |
 * | `{"v":1,"id":3,"cancel":true}` | stop what runs and take back what was done |
 * | `{"v":1,"id":4,"end":true}` | the run is complete: keep what was done |
 *
 * A connection that ends without `end` was lost, and what was done is taken back.
 */
import { argumentsDigest, decode32, parseParams, secretCommitment } from './arguments-digest.ts';
import { ProtocolError } from './error.ts';
import { isName } from './name.ts';
import { parseStrictJson } from './strict-json.ts';
import { ValueReader } from './value-reader.ts';

/** Of a line, without its newline. */
export const GATE_LINE_MAX_BYTES = 65_536;

export interface SecretValue {
  readonly salt: Buffer;
  readonly value: string;
}

/** What is asked to run, or to be run as an undo. */
export interface Invocation {
  readonly command: string;
  /** The exact text of one JSON object, values strings only. */
  readonly params: string;
  readonly salt: Buffer;
  readonly secrets: ReadonlyMap<string, SecretValue>;
}

export type GateRequest =
  | { readonly kind: 'command'; readonly id: number; readonly asked: Invocation; readonly undo?: Invocation }
  | { readonly kind: 'certificate'; readonly id: number; readonly blob: Buffer }
  | { readonly kind: 'cancel'; readonly id: number }
  | { readonly kind: 'end'; readonly id: number };

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const MOST_SECRETS = 32;

/** Reads one line, without its newline. Throws ProtocolError `gate-line-malformed`, `params-malformed` or `json-…`. */
export function parseGateRequest(line: string): GateRequest {
  if (Buffer.byteLength(line) > GATE_LINE_MAX_BYTES) {
    throw new ProtocolError('gate-line-malformed', `a line is longer than ${GATE_LINE_MAX_BYTES} bytes`);
  }
  const value = parseStrictJson(line);
  const reader = new ValueReader('gate-line-malformed', 'request', value);
  const has = (key: string): boolean =>
    typeof value === 'object' && value !== null && !Array.isArray(value) && Object.hasOwn(value, key);
  if (has('certificate')) {
    const { v, id, certificate } = reader.members(['v', 'id', 'certificate']);
    const text = certificate.text();
    if (!BASE64.test(text)) throw certificate.refusal('it must be the base64 of a certificate');
    return { kind: 'certificate', id: readId(v, id), blob: Buffer.from(text, 'base64') };
  }
  for (const kind of ['cancel', 'end'] as const) {
    if (!has(kind)) continue;
    const { v, id, [kind]: flag } = reader.members(['v', 'id', kind]);
    if (flag?.value !== true) throw reader.refusal(`${kind} must be true`);
    return { kind, id: readId(v, id) };
  }
  const { v, id, undo, command, params, salt, secrets } = reader.members(
    ['v', 'id', 'command', 'params', 'salt'],
    ['secrets', 'undo'],
  );
  const asked = readInvocation({ command, params, salt, secrets });
  const request = { kind: 'command', id: readId(v, id), asked } as const;
  if (undo === undefined) return request;
  return { ...request, undo: readInvocation(undo.members(['command', 'params', 'salt'], ['secrets'])) };
}

/** The line, without a newline. */
export function formatGateRequest(request: GateRequest): string {
  switch (request.kind) {
    case 'command':
      return JSON.stringify({
        v: 1,
        id: request.id,
        ...spellInvocation(request.asked),
        undo: request.undo === undefined ? undefined : spellInvocation(request.undo),
      });
    case 'certificate':
      return JSON.stringify({ v: 1, id: request.id, certificate: request.blob.toString('base64') });
    case 'cancel':
      return JSON.stringify({ v: 1, id: request.id, cancel: true });
    case 'end':
      return JSON.stringify({ v: 1, id: request.id, end: true });
  }
}

/** The arguments digest of exactly what is asked. Throws ProtocolError. */
export function invocationDigest(asked: Invocation): string {
  const commitments = Object.fromEntries(
    [...asked.secrets].map(([name, { salt, value }]) => [name, secretCommitment(salt, Buffer.from(value))]),
  );
  return argumentsDigest({ command: asked.command, salt: asked.salt, params: asked.params, commitments });
}

interface InvocationReaders {
  readonly command: ValueReader;
  readonly params: ValueReader;
  readonly salt: ValueReader;
  readonly secrets?: ValueReader | undefined;
}

function readInvocation({ command, params, salt, secrets }: InvocationReaders): Invocation {
  if (typeof params.value !== 'string') throw params.refusal('it must be the text of one JSON object');
  parseParams(params.value);
  const read = new Map<string, SecretValue>();
  for (const [name, entry] of secrets?.entries(MOST_SECRETS) ?? []) {
    if (!isName('parameter', name)) throw entry.refusal('its key is not the name of a parameter');
    const secret = entry.members(['salt', 'value']);
    // No place of this value may ever quote it.
    if (typeof secret.value.value !== 'string') throw secret.value.refusal('it must be a text');
    read.set(name, { salt: readSalt(secret.salt), value: secret.value.value });
  }
  return { command: command.name('command'), params: params.value, salt: readSalt(salt), secrets: read };
}

function spellInvocation({ command, params, salt, secrets }: Invocation): object {
  const spelt = [...secrets].map(([name, secret]) => [
    name,
    { salt: secret.salt.toString('base64url'), value: secret.value },
  ]);
  return {
    command,
    params,
    salt: salt.toString('base64url'),
    secrets: spelt.length === 0 ? undefined : Object.fromEntries(spelt),
  };
}

function readId(v: ValueReader, id: ValueReader): number {
  if (v.value !== 1) throw v.refusal('it must be 1');
  return id.integer(1, Number.MAX_SAFE_INTEGER);
}

function readSalt(reader: ValueReader): Buffer {
  const salt = typeof reader.value === 'string' ? decode32(reader.value) : undefined;
  if (salt === undefined) throw reader.refusal('it must be 32 bytes in base64url without padding');
  return salt;
}
