/**
 * Ending sessions of personal logins (`beacon ssh`) whose certificate was revoked (DESIGN.md section 6). The principals
 * script, which sshd asks for every certificate and which nobody else can write for, notes for each the sshd process of the
 * connection, by its id and the time at which it began, and the certificates that it let in. Neither the environment of a
 * session nor a log that others write to is believed. What is noted and was not proven harms who showed it alone: it is the
 * same connection.
 *
 * A revocation list names certificates until they end, so a session that has outlived its certificate is not found.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Certificate, parseCertificateLine } from '@beacon/ssh/certificate';
import { SshError } from '@beacon/ssh/error';
import { isRevoked } from '@beacon/ssh/is-revoked';
import { decodeKrl, type Krl } from '@beacon/ssh/krl';
import { isCode, readIfThere } from './durable-file.ts';
import type { Machine } from './machine.ts';
import type { VerifiedTrust } from './trust-documents.ts';

/** A file for each connection: `<pid>-<when the process began>`, a certificate on each line. */
export const SESSIONS = '/var/lib/beacon-sessions';

const NOTE = /^(?<pid>[1-9][0-9]{0,9})-(?<began>[0-9]{1,20})$/;
const SSHD = ['sshd', 'sshd-session'];
const SCOPE = /\/(session-[A-Za-z0-9]{1,32}\.scope)$/m;

/** Ends them; answers the key ids of their certificates. Notes of connections that are over go. */
export function endRevokedSessions(machine: Machine, trust: VerifiedTrust): string[] {
  if (!machine.live) return [];
  const names = listNotes();
  if (names.length === 0) return [];
  const krl = decodeKrl(trust.files.krl);
  return names.flatMap((name) => {
    const { pid = '', began } = NOTE.exec(name)?.groups ?? {};
    const path = join(SESSIONS, name);
    const connection = readProcess(pid);
    if (connection?.began !== began || !SSHD.includes(connection?.name ?? '')) {
      rmSync(path, { force: true });
      return [];
    }
    const revoked = readRevoked(path, krl);
    if (revoked === undefined) return [];
    end(machine, Number(pid));
    return [revoked.keyId];
  });
}

function listNotes(): string[] {
  try {
    return readdirSync(SESSIONS);
  } catch (error) {
    if (isCode(error, 'ENOENT')) return [];
    throw error;
  }
}

/** The first certificate of a note that is revoked. */
function readRevoked(path: string, krl: Krl): Certificate | undefined {
  const lines = new Set((readIfThere(path)?.toString('latin1') ?? '').split('\n'));
  for (const line of lines) {
    try {
      const certificate = parseCertificateLine(line);
      if (isRevoked(krl, certificate)) return certificate;
    } catch (error) {
      // Half a line of a script that is writing now.
      if (!(error instanceof SshError)) throw error;
    }
  }
  return undefined;
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  /** In clock ticks since the machine was started. */
  readonly began: string;
}

function readProcess(pid: string): Process | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The name may hold anything; what follows it begins with the state, and the twentieth of that is the time.
  const end = text.lastIndexOf(') ');
  const fields = text.slice(end + 2).split(' ');
  const [, parent = '0'] = fields;
  return {
    pid: Number(pid),
    parent: Number(parent),
    name: text.slice(text.indexOf('(') + 1, end),
    began: fields[19] ?? '',
  };
}

/** All of a session where logind knows it; else sshd's processes and those below them, as far as this process may. */
function end(machine: Machine, pid: number): void {
  const [, scope] = SCOPE.exec(readIfThere(`/proc/${pid}/cgroup`)?.toString('latin1') ?? '') ?? [];
  const below = scope === undefined ? processesBelow(pid) : [];
  if (scope !== undefined) machine.run(['systemctl', 'kill', '--signal=SIGKILL', scope]);
  // sshd's process with root's rights passes this on to the one that serves the session, which hangs up.
  signal(pid, 'SIGTERM');
  for (const one of below) signal(one, 'SIGKILL');
}

function processesBelow(pid: number): number[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readProcess(name) ?? []);
  const found = [pid];
  // It grows while it is gone through.
  for (const parent of found) found.push(...all.filter((one) => one.parent === parent).map((one) => one.pid));
  return found.slice(1);
}

function signal(pid: number, name: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!isCode(error, 'ESRCH') && !isCode(error, 'EPERM')) throw error;
  }
}
