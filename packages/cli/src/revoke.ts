/** `beacon revoke`: takes back certificates that have not expired, by one thing that they have in common. */
import type { RevocationRequest } from '@beacon/protocol/http/revocations';
import { type Context, openCa } from './context.ts';
import { usageError } from './error.ts';
import { readPublicKey } from './hosts.ts';

export interface RevokeOptions {
  readonly serial?: string;
  readonly grant?: string;
  readonly person?: string;
  readonly key?: string;
  readonly caKey?: string;
  readonly halt: boolean;
  readonly reason: string;
  readonly json: boolean;
}

const FINGERPRINT = /^SHA256:[A-Za-z0-9+/]{43}$/;

export async function revoke(context: Context, options: RevokeOptions): Promise<number> {
  const request = await requestOf(options);
  const { api } = await openCa(context);
  const { revoked, already, sessionsEnded, record } = await api.revoke(request);
  const { terminal } = context;
  if (options.json) {
    terminal.json({ revoked, already, sessions_ended: sessionsEnded, record });
    return 0;
  }
  terminal.out(`revoked: ${revoked.length}${revoked.length === 0 ? '' : ` (serials ${revoked.join(', ')})`}`);
  if (already > 0) terminal.out(`revoked before: ${already}`);
  if (sessionsEnded > 0) terminal.out(`sessions ended: ${sessionsEnded}`);
  if (revoked.length === 0 && already === 0) {
    terminal.talk('Nothing that matches is still valid: expired certificates need no revocation.');
  }
  return 0;
}

async function requestOf(options: RevokeOptions): Promise<RevocationRequest> {
  const { serial, grant, person, key, caKey } = options;
  const given = [serial, grant, person, key, caKey].filter((value) => value !== undefined);
  if (given.length !== 1) {
    throw usageError('name what to revoke by exactly one of --serial, --grant, --person, --key, --ca-key');
  }
  const why = { v: 1 as const, reason: options.reason, ...(options.halt ? { halt: true } : {}) };
  if (serial !== undefined) return { by: 'serial', value: serial, ...why };
  if (grant !== undefined) return { by: 'grant', value: grant, ...why };
  if (person !== undefined) return { by: 'person', value: person, ...why };
  if (key !== undefined) return { by: 'public_key', value: await keyOf(key), ...why };
  return { by: 'ca_key', value: await keyOf(caKey ?? ''), ...why };
}

/** A fingerprint as it is, anything else is a public key file. */
async function keyOf(text: string): Promise<string> {
  return FINGERPRINT.test(text) ? text : readPublicKey(text);
}
