/**
 * The door that OpenSSH opens (DESIGN.md section 5). The certificate arrives in `BEACON_CERTIFICATE`: sshd's principals
 * command put it into the forced command, the login's shell into the environment, and one sudo rule lets that one
 * variable through. A process that merely has the login's uid could set the variable and call sudo too, so the gate looks
 * at who its forebears are: sudo, then sshd as the login, then sshd as root. Answers only who is asking.
 */
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { GateError } from './error.ts';

const VARIABLE = 'BEACON_CERTIFICATE';
const CERTIFICATE = /^[A-Za-z0-9+/]{1,400000}={0,2}$/;
/** sshd itself before OpenSSH 9.8, its helpers since. */
const SSHD = ['sshd', 'sshd-session', 'sshd-auth'];
const MOST_SUDO = 2;
const MOST_SSHD = 8;

/** What of a process the door looks at. */
export interface Forebear {
  readonly pid: number;
  readonly parent: number;
  readonly uid: number;
  /** The path of its program; empty where it cannot be seen. */
  readonly program: string;
  /** Whether only root can have put that program there. */
  readonly isRootOwned: boolean;
}

export type ReadForebear = (pid: number) => Forebear | undefined;

/** The certificate that came with the call, taken out of the environment. Throws GateError `certificate-missing`. */
export function takeCertificate(environment: NodeJS.ProcessEnv): Buffer {
  const text = environment[VARIABLE];
  delete environment[VARIABLE];
  if (text === undefined || !CERTIFICATE.test(text)) {
    throw new GateError(
      'certificate-missing',
      'no certificate came with the call: the gate is entered by ssh',
    );
  }
  return Buffer.from(text, 'base64');
}

/** Throws GateError `not-from-sshd` unless the process descends, through sudo alone, from an sshd that runs as root. */
export function requireSshd(parent: number, read: ReadForebear = readForebear): void {
  let forebear = read(parent);
  for (let count = 0; count < MOST_SUDO && isProgram(forebear, ['sudo']); count++) {
    forebear = read(forebear?.parent ?? 0);
  }
  for (let count = 0; count < MOST_SSHD && isProgram(forebear, SSHD); count++) {
    if (forebear?.uid === 0) return;
    forebear = read(forebear?.parent ?? 0);
  }
  throw new GateError(
    'not-from-sshd',
    'the gate was not started by sshd: it is entered by ssh, and in no other way',
  );
}

function isProgram(forebear: Forebear | undefined, names: readonly string[]): boolean {
  return forebear?.isRootOwned === true && names.includes(basename(forebear.program));
}

/** From proc(5). */
export function readForebear(pid: number): Forebear | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
    return { pid, parent: field('PPid'), uid: field('Uid'), ...readProgram(pid) };
  } catch {
    return undefined;
  }
}

function readProgram(pid: number): { program: string; isRootOwned: boolean } {
  const link = `/proc/${pid}/exe`;
  try {
    const { uid, mode } = statSync(link);
    return {
      program: readlinkSync(link).replace(/ [(]deleted[)]$/, ''),
      isRootOwned: uid === 0 && (mode & 0o022) === 0,
    };
  } catch {
    return { program: '', isRootOwned: false };
  }
}
