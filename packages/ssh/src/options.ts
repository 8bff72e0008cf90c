/**
 * The options of a certificate: the table of those we know (OpenSSH's PROTOCOL.certkeys, "Critical options" and
 * "Extensions", and our own `grant@beacon`), and their encoding: names with data, sorted by their bytes, each once.
 * A flag has no data, a text exactly one inner string. Decoding refuses what breaks these rules and keeps an option
 * that we do not know as bytes; whether that is acceptable is decided in `certificate.ts`.
 */
import { Buffer } from 'node:buffer';
import { SshError } from './error.ts';
import { isSourceAddressList } from './source-address.ts';
import { Reader, Writer } from './wire.ts';

/** Whether an implementation that does not know the option must refuse (critical) or may ignore it (extension). */
export type OptionKind = 'critical' | 'extension';

/** What an option carries. `unknown` is one that the table below does not have for its kind. */
export type CertificateOption =
  | { readonly name: string; readonly form: 'flag' }
  | { readonly name: string; readonly form: 'text'; readonly text: string }
  | { readonly name: string; readonly form: 'unknown'; readonly data: Buffer };

/** What a certificate of ours may restrict. */
export interface CriticalOptions {
  /** The one command that runs, whatever was asked for. Never together with another forced command. */
  readonly 'force-command'?: string;
  /** Addresses in CIDR form, separated by commas. */
  readonly 'source-address'?: string;
  /** The hardware key must have verified its owner. */
  readonly 'verify-required'?: true;
}

/** What a certificate of ours may permit: nothing, unless it is named here. */
export interface Extensions {
  /** The grant of section 4 of the design, at most 8 KiB. */
  readonly 'grant@beacon'?: string;
  readonly 'no-touch-required'?: true;
  readonly 'permit-X11-forwarding'?: true;
  readonly 'permit-agent-forwarding'?: true;
  readonly 'permit-port-forwarding'?: true;
  readonly 'permit-pty'?: true;
  readonly 'permit-user-rc'?: true;
}

interface OptionRule {
  readonly form: 'flag' | 'text';
  readonly maxBytes?: number;
}

/** The longest grant. OpenSSH 9.2 carries 100 KB and fails at 200 KB; nothing of ours needs as much. */
export const MAX_GRANT_BYTES = 8 * 1024;

const FLAG: OptionRule = { form: 'flag' };

const KNOWN: Readonly<Record<OptionKind, ReadonlyMap<string, OptionRule>>> = {
  critical: new Map<string, OptionRule>([
    ['force-command', { form: 'text' }],
    ['source-address', { form: 'text' }],
    ['verify-required', FLAG],
  ]),
  extension: new Map<string, OptionRule>([
    ['grant@beacon', { form: 'text', maxBytes: MAX_GRANT_BYTES }],
    ['no-touch-required', FLAG],
    ['permit-X11-forwarding', FLAG],
    ['permit-agent-forwarding', FLAG],
    ['permit-port-forwarding', FLAG],
    ['permit-pty', FLAG],
    ['permit-user-rc', FLAG],
  ]),
};

/** Decodes the inside of `critical options` or `extensions`. Throws `option-*`, `options-*` or `wire-*`. */
export function decodeOptions(kind: OptionKind, bytes: Buffer): readonly CertificateOption[] {
  const reader = new Reader(bytes, kind === 'critical' ? 'critical options' : 'extensions');
  const options: CertificateOption[] = [];
  let previous: Buffer | undefined;
  while (reader.remaining > 0) {
    const name = reader.text('name', 256);
    const nameBytes = Buffer.from(name);
    const order = previous === undefined ? -1 : Buffer.compare(previous, nameBytes);
    if (order === 0) throw new SshError('option-duplicate', `the option ${quote(name)} stands there twice`);
    if (order > 0) throw new SshError('options-unsorted', `the option ${quote(name)} is out of order`);
    previous = nameBytes;
    options.push(decodeOption(name, reader.string('data'), KNOWN[kind].get(name)));
  }
  return options;
}

/**
 * Encodes options, sorted by the bytes of their names. Throws `option-unknown` for a name that is not in the table,
 * `option-wrong-kind` for one that belongs to the other kind (sshd would ignore a `force-command` among the
 * extensions and run anything), `option-malformed` and `option-too-long` for its value.
 */
export function encodeOptions(kind: OptionKind, values: CriticalOptions | Extensions): Buffer {
  const writer = new Writer();
  const entries = Object.entries(values) as [string, unknown][];
  entries.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  for (const [name, value] of entries) {
    writer.string(name).string(encodeValue(name, value, ruleFor(kind, name)));
  }
  return writer.toBuffer();
}

/** The text of the option `name`; `undefined` where it is missing. */
export function optionText(options: readonly CertificateOption[], name: string): string | undefined {
  const option = options.find((candidate) => candidate.name === name);
  return option?.form === 'text' ? option.text : undefined;
}

/** Whether the flag `name` is there. */
export function hasFlag(options: readonly CertificateOption[], name: string): boolean {
  return options.some((option) => option.name === name && option.form === 'flag');
}

function decodeOption(name: string, data: Buffer, rule: OptionRule | undefined): CertificateOption {
  if (rule === undefined) return { name, form: 'unknown', data };
  if (rule.form === 'flag') {
    if (data.length > 0) throw new SshError('option-malformed', `the option ${name} must not have data`);
    return { name, form: 'flag' };
  }
  if (data.length > (rule.maxBytes ?? data.length) + 4) {
    throw new SshError('option-too-long', `the option ${name} is longer than ${rule.maxBytes} bytes`);
  }
  const reader = new Reader(data, `option ${name}`);
  const text = reader.text('text');
  reader.end();
  return { name, form: 'text', text };
}

function ruleFor(kind: OptionKind, name: string): OptionRule {
  const rule = KNOWN[kind].get(name);
  if (rule !== undefined) return rule;
  const other = kind === 'critical' ? 'extension' : 'critical';
  if (KNOWN[other].has(name)) {
    throw new SshError('option-wrong-kind', `${name} is no ${kind} option, it belongs to the ${other} ones`);
  }
  throw new SshError('option-unknown', `the ${kind} option ${quote(name)} is not known here`);
}

function encodeValue(name: string, value: unknown, rule: OptionRule): Buffer {
  if (rule.form === 'flag') {
    if (value !== true)
      throw new SshError('option-malformed', `the option ${name} is a flag: leave it out or set it`);
    return Buffer.alloc(0);
  }
  if (typeof value !== 'string' || value === '' || value.includes('\0') || !value.isWellFormed()) {
    throw new SshError(
      'option-malformed',
      `the option ${name} needs a text that is not empty and has no NUL`,
    );
  }
  if (name === 'source-address' && !isSourceAddressList(value)) {
    throw new SshError('option-malformed', 'source-address needs CIDR addresses, separated by commas');
  }
  const bytes = Buffer.from(value, 'utf8');
  if (bytes.length > (rule.maxBytes ?? bytes.length)) {
    throw new SshError('option-too-long', `the option ${name} is longer than ${rule.maxBytes} bytes`);
  }
  return new Writer().string(bytes).toBuffer();
}

function quote(name: string): string {
  return JSON.stringify(name);
}
